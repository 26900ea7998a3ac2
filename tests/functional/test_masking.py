"""Masks sum to one where there is energy; consistency is a projection."""

import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.masking import apply_masks, mixture_consistency, ratio_mask
from tests.support.signals import noise_array as noise


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_ratio_masks_sum_to_one(power):
    masks = ratio_mask(noise(2, 3, 5, 7, seed=0) + 2.0, power=power)
    np.testing.assert_allclose(masks.sum(1), 1.0, atol=1e-5)
    assert (masks >= 0).all()


def test_ratio_mask_of_silence_is_zero_and_finite():
    assert (ratio_mask(jnp.zeros((1, 2, 3, 4))) == 0).all()


def test_mask_of_one_source_gives_back_the_mixture():
    latent = noise(2, 5, 7, seed=1)
    masked = apply_masks(latent, ratio_mask(latent[:, None]))
    np.testing.assert_allclose(masked[:, 0], latent, atol=1e-5)


def test_consistent_estimates_sum_to_the_mixture_and_stay():
    estimates, mixture = noise(2, 4, 50, seed=2), noise(2, 50, seed=3)
    consistent = mixture_consistency(estimates, mixture)
    np.testing.assert_allclose(consistent.sum(1), mixture, atol=1e-5)
    again = mixture_consistency(consistent, mixture)
    np.testing.assert_allclose(again, consistent, atol=1e-5)
