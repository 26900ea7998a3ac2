"""Causal models: latency, state and speed on one core; whole songs against chunks.

python benchmarks/streams.py
"""

import dataclasses
import time

import jax
import numpy as np

from sepjax.configs import chapter6, demo, networks
from sepjax.experiment.pace import stream_lines
from sepjax.inference.separate import separate
from sepjax.models.build import model_of
from sepjax.models.tasnet.model import MaskedSeparation

SECONDS = 60


class InChunks(MaskedSeparation):
    """The same network without state."""

    streaming = None


def table():
    """Print the facts of causal configurations."""
    blstm, unmix = (
        networks.get_config("demo_blstm_tasnet"),
        chapter6.get_config("demo_tl"),
    )
    blstm.model.causal = True
    unmix.model.bidirectional, unmix.model.wiener_iterations = False, 0
    rows = {
        "demo.py:causal": demo.get_config("causal"),
        "networks.py:lstm_tasnet": networks.get_config("lstm_tasnet"),
        "networks.py:demo_blstm_tasnet, causal": blstm,
        "chapter6.py:demo_tl, of the past alone": unmix,
    }
    for name, config in rows.items():
        print(f"{name:40}", *(text for _, text in stream_lines(config)), sep=" | ")


def against_chunks():
    """Print seconds of a track in stereo, the best of three in alternation."""
    model = model_of(demo.get_config("causal"))
    fields = [field.name for field in dataclasses.fields(model)]
    values = {f: getattr(model, f) for f in fields if f not in ("parent", "name")}
    models = {"state": model, "chunks": InChunks(**values)}
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8000), np.float32))
    track = np.random.default_rng(0).normal(size=(SECONDS * 8000, 2))
    how = dict(sample_rate=8000, normalize=False, rescale=False)
    for chunk in (8.0, 1.0):
        seconds, stems = {name: [] for name in models}, {}
        for _ in range(4):
            for name, each in models.items():
                began = time.perf_counter()
                found = separate(
                    each, variables, track.astype(np.float32), chunk=chunk, **how
                )
                seconds[name].append(time.perf_counter() - began)
                stems[name] = np.stack([*found.values()])
        error = np.square(stems["chunks"] - stems["state"]).sum()
        level = 10 * np.log10(error / np.square(stems["state"]).sum())
        best = {name: round(min(times[1:]), 2) for name, times in seconds.items()}
        print(f"chunks of {chunk} s: {best} s, apart by {level:.1f} dB")


if __name__ == "__main__":
    table()
    against_chunks()
