"""Losses: values per item and source, by name, and their reduction."""

from sepjax.losses.latent import latent_similarity as latent_similarity
from sepjax.losses.reduction import Whole as Whole
from sepjax.losses.reduction import active_sources as active_sources
from sepjax.losses.reduction import mean_over_active as mean_over_active
from sepjax.losses.reduction import whole_batch as whole_batch
from sepjax.losses.registry import LOSSES as LOSSES
from sepjax.losses.registry import Loss as Loss
from sepjax.losses.registry import parse_loss as parse_loss
from sepjax.losses.spectral import multi_resolution_stft as multi_resolution_stft
from sepjax.losses.spectral import spectral_mse as spectral_mse
from sepjax.losses.waveform import l1 as l1
from sepjax.losses.waveform import l1_snr as l1_snr
from sepjax.losses.waveform import log_wmse as log_wmse
from sepjax.losses.waveform import mse as mse
from sepjax.losses.waveform import negative_sdr as negative_sdr
from sepjax.losses.waveform import negative_si_sdr as negative_si_sdr
from sepjax.losses.waveform import si_sdr as si_sdr
from sepjax.losses.waveform import source_si_sdr as source_si_sdr
