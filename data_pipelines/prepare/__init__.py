"""From a collection of recordings to songs with stems: ``sepjax prepare``."""

from data_pipelines.prepare.run import Prepared, prepare

__all__ = ["Prepared", "prepare"]
