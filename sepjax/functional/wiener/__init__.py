"""Multichannel Wiener filtering by expectation maximisation."""

from sepjax.functional.wiener.filter import (
    ENTRIES,
    VARIANTS,
    Estimates,
    Magnitudes,
    Mixture,
    expectation_maximization,
    gaussian_model,
    initial_estimates,
    residual_model,
    wiener_em,
)

__all__ = [
    "ENTRIES",
    "VARIANTS",
    "Estimates",
    "Magnitudes",
    "Mixture",
    "expectation_maximization",
    "gaussian_model",
    "initial_estimates",
    "residual_model",
    "wiener_em",
]
