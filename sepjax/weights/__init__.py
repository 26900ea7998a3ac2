"""Weights that others have trained, and files that others can read.

:func:`from_state_dict` turns the state dict of a public PyTorch implementation into a
configuration and parameters of ours, :func:`filterbank_from_state_dict` that of a pair
of filterbanks into taps; :func:`save_safetensors` and :func:`load_safetensors` keep a
model in one plain file. :func:`read_torch_file` opens a checkpoint without PyTorch,
:data:`IMPORTERS` turn such files into models, and :func:`write_imported` and
:func:`load_imported` keep them in a folder.
"""

from sepjax.foreign.state_dict import as_variables
from sepjax.foreign.torch_file import read_torch_file
from sepjax.models.importers import IMPORTERS, from_state_dict, run_importer
from sepjax.weights.files import load_safetensors, save_safetensors
from sepjax.weights.filterbanks import filterbank_from_state_dict, multiphase_gammatone
from sepjax.weights.store import load_imported, write_imported

__all__ = [
    "IMPORTERS",
    "as_variables",
    "filterbank_from_state_dict",
    "from_state_dict",
    "load_imported",
    "load_safetensors",
    "multiphase_gammatone",
    "read_torch_file",
    "run_importer",
    "save_safetensors",
    "write_imported",
]
