"""The stem doctor: what is wrong with a set of songs, before a model learns it.

:func:`~data_pipelines.doctor.diagnosis.diagnose` measures every song of a manifest and
:func:`~data_pipelines.doctor.table.format_diagnosis` prints what it found;
:mod:`.overlap` keeps test songs out of training.
"""

from data_pipelines.doctor.diagnosis import Diagnosis, diagnose
from data_pipelines.doctor.table import format_diagnosis

__all__ = ["Diagnosis", "diagnose", "format_diagnosis"]
