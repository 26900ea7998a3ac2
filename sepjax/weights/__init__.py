"""Weights that others have trained, and files that others can read.

:func:`from_state_dict` turns the state dict of a public PyTorch implementation into a
configuration and parameters of ours, :func:`filterbank_from_state_dict` that of a pair
of filterbanks into taps; :func:`save_safetensors` and :func:`load_safetensors` keep a
model in one plain file.
"""

# Importing a family registers its members.
from sepjax.weights import conv_tasnet, demucs, meta_tasnet  # noqa: F401
from sepjax.weights.families import FAMILIES, from_state_dict
from sepjax.weights.files import load_safetensors, save_safetensors
from sepjax.weights.filterbanks import (
    filterbank_from_state_dict,
    multiphase_gammatone,
)

__all__ = [
    "FAMILIES",
    "filterbank_from_state_dict",
    "from_state_dict",
    "load_safetensors",
    "multiphase_gammatone",
    "save_safetensors",
]
