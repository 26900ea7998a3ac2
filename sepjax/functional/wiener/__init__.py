"""Multichannel Wiener filtering by expectation maximisation."""

from sepjax.functional.wiener.filter import (
    expectation_maximization as expectation_maximization,
)
from sepjax.functional.wiener.filter import gaussian_model as gaussian_model
from sepjax.functional.wiener.filter import initial_estimates as initial_estimates
from sepjax.functional.wiener.filter import residual_model as residual_model
from sepjax.functional.wiener.filter import wiener_em as wiener_em
