"""Where a run stands with its evaluations: the plateau schedule and the best so far."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sepjax.config import Config
from sepjax.train.optim.plateau import PlateauState, plateau_step


class Progress(NamedTuple):
    """The part of a run's state that lives outside the device."""

    plateau: PlateauState
    best_step: int = 0
    best_loss: float = math.inf
    # Those of each source, where each is trained as if it were alone.
    sources: tuple["Progress", ...] = ()

    @property
    def each(self) -> tuple["Progress", ...]:
        """The schedules that run side by side: of all sources, or of each."""
        return self.sources or (self,)

    @classmethod
    def of(cls, each: Sequence["Progress"]) -> "Progress":
        """Return schedules together; their best is the best of all of them."""
        if len(each) == 1:
            return each[0]
        losses = [one.best_loss for one in each if math.isfinite(one.best_loss)]
        loss = sum(losses) if losses else math.inf
        step = max(one.best_step for one in each)
        return cls(each[0].plateau, step, loss, tuple(each))

    def after(self, config: Config, step: int, loss: float) -> "Progress":
        """Return the schedule after an evaluation.

        The plateau schedule ignores one out of turn, at the end of a run: prolonged,
        the run trains on as if it had been longer from the start. It may be the best.
        Restarts (``optim.schedule``) follow from the steps.
        """
        optim, plateau = config.optim, self.plateau
        if step % config.train.eval_every == 0 and optim.schedule == "plateau":
            plateau = plateau_step(
                plateau,
                loss,
                factor=optim.lr_decay_gamma,
                patience=optim.lr_decay_patience,
                cooldown=optim.lr_decay_cooldown,
                threshold=optim.plateau_threshold,
                threshold_mode=optim.plateau_mode,
            )
        best = (step, loss) if loss < self.best_loss else self[1:3]
        return Progress(plateau, *best)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; infinity, which JSON lacks, as a text."""
        tree = self._asdict() | {"plateau": self.plateau._asdict()}
        tree["sources"] = [one.to_json() for one in self.sources]
        return json.loads(json.dumps(tree), parse_constant=str)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Progress":
        """Invert :meth:`to_json`."""
        best = float(tree["plateau"]["best"])
        plateau = PlateauState(**tree["plateau"] | {"best": best})
        sources = tuple(map(cls.from_json, tree.get("sources", ())))
        return cls(plateau, tree["best_step"], float(tree["best_loss"]), sources)
