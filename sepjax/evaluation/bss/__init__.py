"""BSS Eval version 4: SDR, ISR, SIR and SAR over windows."""

from sepjax.evaluation.bss.evaluate import bss_eval, sdr_frames

__all__ = ["bss_eval", "sdr_frames"]
