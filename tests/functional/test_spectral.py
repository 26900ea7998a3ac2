"""The short-time Fourier transform against scipy, PyTorch's vectors and itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax.test_util import check_grads

from sepjax.functional.spectral import hann, istft, stft
from tests.support.signals import noise_array as noise


def test_window_is_scipys():
    np.testing.assert_allclose(hann(64), scipy.signal.get_window("hann", 64), atol=1e-6)


@pytest.mark.parametrize(("n_fft", "hop"), [(256, 64), (100, 30)])
def test_equals_scipy(n_fft, hop):
    wave = noise(2000)
    ours = stft(wave, n_fft=n_fft, hop=hop, padding="constant")
    window = scipy.signal.get_window("hann", n_fft)
    reference = scipy.signal.ShortTimeFFT(window, hop, fs=1.0, phase_shift=None)
    theirs = reference.stft(np.asarray(wave), p0=0, p1=ours.shape[0]).T
    # Sums of 256 products in float32.
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("center", [0, 1])
def test_equals_pytorch(shared_data, center):
    with np.load(shared_data / f"umx_ref/stft_center{center}.npz") as data:
        audio, expected = (
            data["audio"],
            data["stft"][..., 0] + 1j * data["stft"][..., 1],
        )
        n_fft = 2 * (expected.shape[2] - 1)
        inverse = data["istft"] if "istft" in data.files else None
    found = stft(jnp.asarray(audio), n_fft=n_fft, hop=n_fft // 4, center=bool(center))
    np.testing.assert_allclose(
        found, expected.swapaxes(2, 3), atol=1e-5 * np.abs(expected).max()
    )
    if inverse is not None and center:
        back = istft(found, n_fft=n_fft, hop=n_fft // 4, time=audio.shape[-1])
        np.testing.assert_allclose(back, inverse, atol=1e-5 * np.abs(inverse).max())


@pytest.mark.parametrize(
    ("time", "n_fft", "hop"), [(70, 64, 16), (301, 64, 32), (512, 60, 20)]
)
def test_inverse_reconstructs(time, n_fft, hop):
    wave = noise(2, time, seed=time)

    @jax.jit
    def there_and_back(wave):
        spectrum = stft(wave, n_fft=n_fft, hop=hop)
        return istft(spectrum, n_fft=n_fft, hop=hop, time=time)

    # Beyond the last frame's centre its window alone, falling to 0, sees the signal.
    covered = time // hop * hop
    back = there_and_back(wave)
    assert back.shape == wave.shape
    np.testing.assert_allclose(back[:, :covered], wave[:, :covered], atol=1e-4)


def test_silence_and_gradients_are_finite():
    @jax.jit
    def energy(wave):
        spectrum = stft(wave, n_fft=64, hop=16)
        return jnp.sum(istft(spectrum, n_fft=64, hop=16, time=300) ** 2)

    assert np.isfinite(jax.jit(jax.grad(energy))(jnp.zeros(300))).all()
    check_grads(energy, (noise(300),), 1, modes=["rev"], rtol=5e-2)
