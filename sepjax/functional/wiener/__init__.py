"""Multichannel Wiener filtering by expectation maximisation."""

from sepjax.functional.wiener.filter import ENTRIES as ENTRIES
from sepjax.functional.wiener.filter import VARIANTS as VARIANTS
from sepjax.functional.wiener.filter import Estimates as Estimates
from sepjax.functional.wiener.filter import Magnitudes as Magnitudes
from sepjax.functional.wiener.filter import Mixture as Mixture
from sepjax.functional.wiener.filter import (
    expectation_maximization as expectation_maximization,
)
from sepjax.functional.wiener.filter import gaussian_model as gaussian_model
from sepjax.functional.wiener.filter import initial_estimates as initial_estimates
from sepjax.functional.wiener.filter import residual_model as residual_model
from sepjax.functional.wiener.filter import wiener_em as wiener_em
