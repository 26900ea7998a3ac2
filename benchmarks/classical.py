"""Time of classical separation beside librosa, and beside plain NumPy, in one run.

    python benchmarks/classical.py --librosa /other/venv/bin/python

Music is noise, half a minute in mono at 22.05 kHz, whose values make no difference to
the time. One JSON line each: HPSS of ``librosa.effects.hpss`` (by an interpreter with
librosa, skipped without) and of SciPy's medians; REPET, REPET-SIM and 100 updates of
NMF (rank 32) as NumPy computes them. Each pair runs in turn, five times; the least
counts. Seconds of sepjax are those of a compiled program, which also transforms there
and back; ``compile`` is what its first call takes. ``ratio`` is peer over sepjax.
"""

import argparse
import functools
import json
import subprocess
import time
from collections.abc import Callable

import jax
import numpy as np
from scipy import ndimage, signal

from sepjax.functional.factorization import factorize
from sepjax.models.build import build_model
from sepjax.models.classical.config import MedianConfig
from sepjax.train.load import ready_config

RATE, SECONDS, ROUNDS = 22050, 30, 5
LIBROSA = """
import sys, time, numpy as np, librosa
wave = np.random.default_rng(0).normal(size=%d).astype(np.float32)
librosa.effects.hpss(wave)
for line in sys.stdin:
    began = time.perf_counter()
    librosa.effects.hpss(wave)
    print(time.perf_counter() - began, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--librosa", help="interpreter that can import librosa")
    path = parser.parse_args().librosa
    wave = np.random.default_rng(0).normal(size=RATE * SECONDS).astype(np.float32)
    # librosa's windows: 2048 samples every 512, medians of 31 frames and 31 bins.
    frames, bins = 31 * 512 / RATE, 31 * RATE / 2048
    medians = MedianConfig(
        harmonic_seconds=frames, percussive_hz=bins, power=2.0, window=0.093
    )
    own = separator(medians, wave)
    if path:
        command = [path, "-c", LIBROSA % len(wave)]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with subprocess.Popen(command, **pipes) as peer:
            compare("hpss, librosa", own, functools.partial(ask, peer))
            peer.stdin.close()
    compare("hpss, SciPy", own, timed(lambda: hpss_by_scipy(wave)))
    for name, peer in (("repet", repet_by_numpy), ("repet_sim", sim_by_numpy)):
        own = separator(ready_config(name).model, wave)
        compare(f"{name}, NumPy", own, timed(lambda peer=peer: peer(wave)))
    compare("nmf, NumPy", *factorizations(np.abs(spectrum(wave))))


def compare(name: str, own: Callable, peer: Callable) -> None:
    """Run both in turn and print a line."""
    first = own()
    pairs = [(own(), peer()) for _ in range(ROUNDS)]
    ours, theirs = (min(times) for times in zip(*pairs))
    facts = {"sepjax": ours, "peer": theirs, "ratio": theirs / ours, "compile": first}
    line = {key: round(value, 3) for key, value in facts.items()}
    print(json.dumps({"name": name} | line), flush=True)


def timed(function: Callable) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(function())
        return time.perf_counter() - began

    return run


def ask(peer: subprocess.Popen) -> float:
    peer.stdin.write("\n")
    peer.stdin.flush()
    return float(peer.stdout.readline())


def separator(config, wave: np.ndarray) -> Callable[[], float]:
    model = build_model(config, sources=config.parts, sample_rate=RATE)
    apply = jax.jit(lambda x: model.apply({}, x).estimates)
    return timed(lambda: apply(wave[None]))


def spectrum(wave: np.ndarray, hop: int = 512) -> np.ndarray:
    return signal.stft(wave, nperseg=2048, noverlap=2048 - hop)[2].T


def inverse(spectra: np.ndarray, masks: list, hop: int = 512) -> list:
    how = dict(nperseg=2048, noverlap=2048 - hop)
    return [signal.istft((spectra * mask).T, **how)[1] for mask in masks]


def hpss_by_scipy(wave: np.ndarray) -> list:
    spectra = spectrum(wave)
    v = np.abs(spectra)
    h = ndimage.median_filter(v, size=(31, 1)) ** 2
    p = ndimage.median_filter(v, size=(1, 31)) ** 2
    return inverse(spectra, [p / (p + h), h / (p + h)])


def repet_by_numpy(wave: np.ndarray) -> list:
    spectra = spectrum(wave, 1024)
    v = np.abs(spectra)
    power = np.abs(np.fft.rfft(v**2, 2 * len(v), axis=0)) ** 2
    beats = np.fft.irfft(power, axis=0)[: len(v)].mean(1) / np.arange(len(v), 0, -1)
    low, high = round(0.8 * RATE / 1024), round(8 * RATE / 1024)
    period = low + np.argmax(beats[low:high])
    segment = np.stack([np.median(v[t::period], axis=0) for t in range(period)])
    mask = np.minimum(segment[np.arange(len(v)) % period], v) / np.maximum(v, 1e-12)
    return inverse(spectra, [mask, 1 - mask], 1024)


def sim_by_numpy(wave: np.ndarray) -> list:
    spectra = spectrum(wave, 1024)
    v = np.abs(spectra)
    unit = v / np.linalg.norm(v, axis=1, keepdims=True)
    alike = unit @ unit.T
    distance = round(RATE / 1024)
    peaks = ndimage.maximum_filter1d(alike, 2 * distance + 1, axis=1)
    alike[alike < peaks] = -1
    again = np.empty_like(v)
    for t, row in enumerate(alike):
        best = np.argsort(-row)[:25]
        again[t] = np.median(v[best[row[best] >= 0]], axis=0)
    mask = np.minimum(again, v) / np.maximum(v, 1e-12)
    return inverse(spectra, [mask, 1 - mask], 1024)


def factorizations(v: np.ndarray) -> tuple[Callable, Callable]:
    generator = np.random.default_rng(0)
    v = (v / v.max()).astype(np.float32)
    h = generator.random((len(v), 32)).astype(np.float32)
    w = generator.random((32, v.shape[1])).astype(np.float32)
    own = jax.jit(functools.partial(factorize, beta=1, steps=100))

    def plain() -> np.ndarray:
        a, b = h.copy(), w.copy()
        for _ in range(100):
            a *= (v / (a @ b + 1e-10)) @ b.T / (b.sum(1) + 1e-10)
            b *= a.T @ (v / (a @ b + 1e-10)) / (a.sum(0)[:, None] + 1e-10)
            m = a @ b + 1e-10
            np.mean(v * np.log((v + 1e-10) / m) - v + m)
        return b

    return timed(lambda: own(v, h, w)), timed(plain)


if __name__ == "__main__":
    main()
