"""One self-contained page about a run: scores, curves, filters and players.

    >>> from sepjax.report import write_report

jax, matplotlib, soundfile and soxr are imported when they are used.
"""

from sepjax.report.pages.run import write_report

__all__ = ["write_report"]
