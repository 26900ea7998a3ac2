"""What training minimises: a model, run on an excerpt, and its losses.

An objective computes what a share of a batch, a device's or a microbatch, contributes
to the loss *of the whole batch*: sums over shares are the loss and its gradient.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sepjax.config import LossConfig
from sepjax.functional.augment import Excerpt
from sepjax.losses import (
    LOSSES,
    Loss,
    Whole,
    active_sources,
    mean_over_active,
    parse_loss,
    source_si_sdr,
)
from sepjax.models.contract import SeparationModel, Variables
from sepjax.train.optim.freeze import within

Metrics = dict[str, Any]
Terms = tuple[tuple[float, Loss], ...]

RESERVED = "loss grad_norm terms items count learning_rate each".split()
"""Names in metrics and logs that are no loss's label."""

RNGS = "dropout"
"""Where training keeps the key of the random streams of the next step."""


class Objective(NamedTuple):
    """A model's outputs and their loss, apart.

    Attributes:
        outputs: ``(params, memory, excerpt, axis_name) -> (outputs, memory)``; all
            outputs have a leading axis over items. ``memory`` is what the model keeps
            besides its parameters.
        loss: ``(outputs, excerpt, whole) -> (value, metrics)``, the share's part of the
            loss and of every metric.
        joint: whether the loss compares items with each other, so that a microbatch
            alone has no loss.
        pooled: whether the outputs of an item depend on the other items, through norms
            that take their statistics from the whole batch.
        constants: names of parameters that no step moves.
    """

    outputs: Callable[..., tuple[Any, dict]]
    loss: Callable[..., tuple[Array, Metrics]]
    joint: bool = False
    pooled: bool = False
    constants: tuple[str, ...] = ()


def loss_terms(config: LossConfig, default: str) -> Terms:
    """The losses of a configuration and their weights.

    Args:
        config: the section ``loss``.
        default: what ``loss.name="auto"`` means, a model's ``objective``.

    Raises:
        ValueError: there is no such loss (the nearest names are suggested), or two of
            them have one label.

    Example:
        >>> [weight for weight, _ in loss_terms(LossConfig("l1+0.5*l1_snr"), "si_sdr")]
        [1.0, 0.5]
    """
    name = default if config.name == "auto" else config.name
    terms = tuple((weight, LOSSES.find(term)) for weight, term in parse_loss(name))
    labels = [term.label for _, term in terms]
    if clash := sorted({x for x in labels if x in RESERVED or labels.count(x) > 1}):
        raise ValueError(
            f"loss.name={name!r}: {', '.join(clash)} would be the name of several "
            "values in the log: register the loss with another label"
        )
    return terms


def make_objective(
    model: SeparationModel,
    config: LossConfig | None = None,
    freeze: Sequence[str] = (),
    per_source: bool = False,
) -> Objective:
    """Return the objective of a model: its own loss, or the configuration's.

    Args:
        model: keeps the contract :class:`sepjax.models.contract.Model`.
        config: the section ``loss``; its numbers may be arrays.
        freeze: paths that training leaves unchanged. Frozen norms keep their stored
            statistics: the model runs as in inference.
        per_source: whether each source is trained as if it were alone: the loss is a
            sum, of what the metrics have as ``each``.

    Raises:
        ValueError: an output that a loss needs is not one of the model's.
    """
    config = config or LossConfig()
    if per_source:
        config = dataclasses.replace(config, over_sources="sum")
    terms = loss_terms(config, model.objective)
    require_outputs(model, terms)
    norms = model.batch_norms
    train = not norms or not all(
        any(within(f"{norm}/gain", path) for path in freeze) for norm in norms
    )

    def value(outputs: dict, excerpt: Excerpt, whole: Whole) -> tuple[Array, Metrics]:
        total = jnp.zeros(())
        metrics: Metrics = {}
        parts: Metrics = {}
        facts = outputs | excerpt._asdict()
        facts |= dict(sample_rate=model.sample_rate, whole=whole, weights=config)
        if "estimates" in outputs:  # a model may estimate one more, what is left
            facts["estimates"] = outputs["estimates"][:, : excerpt.sources.shape[1]]
        for weight, term in terms:
            part, own = reduce_share(term, facts)
            total, metrics = total + weight * part, metrics | own
            parts[term.label] = term.sign * part
        if per_source:
            metrics["each"] = sum(w * t.sign * metrics[t.label] for w, t in terms)
        if "si_sdr" not in metrics and "estimates" in outputs:
            values = source_si_sdr(excerpt.sources, facts["estimates"])
            active = active_sources(excerpt.sources)
            metrics["si_sdr"] = mean_over_active(values, active, whole.counts)[1]
        if len(terms) > 1:
            metrics["terms"] = parts | metrics.get("terms", {})
        return total, metrics

    outputs = functools.partial(model_outputs, model, terms, config, train)
    joint = any(term.joint(config) for _, term in terms)
    return Objective(outputs, value, joint, train and bool(norms), model.constants)


def model_outputs(
    model: SeparationModel,
    terms: Terms,
    config: LossConfig,
    train: bool,
    params: Any,
    memory: dict[str, Any],
    excerpt: Excerpt,
    axis_name: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the outputs that the losses need, by name, and the model's new memory."""
    needs = {name for _, term in terms for name in term.needs}
    options = {k: v for _, term in terms for k, v in term.options(config).items()}
    context: dict[str, Any] = {}
    variables = {"params": params} | {name: memory[name] for name in model.collections}
    if model.rngs:
        key, after = jax.random.split(jax.random.wrap_key_data(memory[RNGS]["key"]))
        memory = memory | {RNGS: {"key": jax.random.key_data(after)}}
        context["rngs"] = {
            name: jax.random.fold_in(key, index) if index else key
            for index, name in enumerate(model.rngs)
        }
    if model.rngs or model.collections:
        context["train"] = train
    if model.collections:
        context |= dict(axis_name=axis_name, mutable=list(model.collections))
    outputs: dict[str, Any] = {}
    calls = {model.outputs[name]: options for name in needs if name in model.outputs}
    if needs & {"estimates", "masks", "latent"}:
        calls["__call__"] = {}
    for method, more in calls.items():
        plain = method == "__call__"
        inputs = model_inputs(model, excerpt) if plain else excerpt
        result = model.apply(variables, *inputs, **more, **context, method=method)
        if model.collections:
            result, changed = result
            memory = memory | changed
        result = result._asdict() if plain else result
        outputs |= {k: v for k, v in result.items() if k in needs or k == "estimates"}
    return outputs, memory


def reduce_share(term: Loss, facts: Mapping[str, Any]) -> tuple[Array, Metrics]:
    """A share's part of a loss, and its values per source under the loss's label."""
    result = term.function(**{name: facts[name] for name in term.needs})
    if term.reduces:
        return result
    whole, how = facts["whole"], reduction(term, facts["weights"])
    if term.counts_silence:
        each = jnp.mean(result, axis=0) / whole.shares
        mean = jnp.mean(each)
    else:
        active = active_sources(facts["sources"])
        mean, each = mean_over_active(result, active, whole.counts)
    return jnp.sum(each) if how == "sum" else mean, {term.label: term.sign * each}


def reduction(term: Loss, config: LossConfig) -> str:
    """Return how a loss is reduced over sources, ``mean`` or ``sum``."""
    how = config.over_sources
    return term.over_sources if how == "auto" else how


def require_outputs(model: SeparationModel, terms: Terms) -> None:
    """Refuse a loss that needs what a model does not compute.

    Raises:
        ValueError: names the loss and what is missing.
    """
    known = {"sources", "mixture", "estimates", "masks", "latent", "sample_rate"}
    known |= {"whole", "weights", *model.outputs}
    for _, term in terms:
        if missing := [name for name in term.needs if name not in known]:
            raise ValueError(
                f"loss.name: {term.label!r} needs {', '.join(missing)}, which this "
                f"model does not compute; it has {', '.join(sorted(known))}"
            )


def model_inputs(model: SeparationModel, excerpt: Excerpt) -> tuple[Array, ...]:
    """Return the inputs of a model: an oracle is given the sources as well."""
    return tuple(excerpt) if model.needs_sources else (excerpt.mixture,)


def initial_memory(
    model: SeparationModel, variables: Variables, key: Array
) -> dict[str, Any]:
    """Return the fresh variables that training keeps besides the parameters."""
    memory = {name: variables[name] for name in model.collections}
    if model.rngs:
        # A stream of its own, so that the step number alone does not repeat it.
        memory[RNGS] = {"key": jax.random.key_data(jax.random.fold_in(key, 1))}
    return memory
