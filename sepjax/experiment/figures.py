"""``sepjax report --figure``: a figure of the thesis by its number, from runs."""

from collections.abc import Sequence
from pathlib import Path

from sepjax.configs.appendix_a_rows import FIGURES
from sepjax.registry import nearest
from sepjax.report.figures.bars import write_bars
from sepjax.report.figures.diagrams import DIAGRAMS, write_diagram
from sepjax.report.figures.grid import write_figure
from sepjax.report.figures.surface import variations_in, write_surface

# Figures that show no rows of the appendix.
FILTERS, ANY, SCORES, SURFACE = "5.2", "comparison", "scores", "surface"
TAGS = {"4.1": "genre", "4.2": "year"}  # inferred from the text of section 4.1


def draw(
    name: str, runs: Sequence[Path], output: Path | None, by_data: bool = False
) -> tuple[list[Path], str]:
    """Draw one figure; return its files and its caption.

    "4.1" and "4.2", of a collection or a prepared folder in the place of runs, are
    songs by genre and by year, which is inferred from the text.

    Args:
        name: "5.1" and "5.3" to "5.5" (diagrams), "5.2" (filters of one run, or as
            they are initialized), "5.6" to "5.15" (validation curves of rows),
            "comparison" (of whatever is given), "scores" (bars of what was scored,
            beside the oracle), "surface" (scores over the values that a run with
            ``train.vary`` varied).
        runs: run folders, folders of seeds, or folders of them.
        output: file; ``figure_NAME`` in the working directory by default.
        by_data: panels of their own for each kind of data.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no such figure, no runs, or runs that cannot be compared.
    """
    output = output or Path(f"figure_{name}".replace(".", "_"))
    if name in DIAGRAMS:
        return write_diagram(name, output)
    if name == FILTERS:
        return draw_filters(runs, output)
    if name == SCORES:
        if not runs:
            raise ValueError("--figure scores: name the run folders to show")
        return write_bars(runs, output)
    if name == SURFACE:
        if len(runs) != 1:
            raise ValueError("--figure surface: name one run folder with variations")
        return write_surface(variations_in(Path(runs[0])), output)
    if name in TAGS:
        return draw_songs(name, runs, output)
    if name == ANY:
        title, rows = "Comparison of runs", {}
    else:
        figures = rows_of_figures() | {key: {} for key in TAGS}
        if name not in figures:
            known = [*figures, *DIAGRAMS, FILTERS, ANY, SCORES, SURFACE]
            raise ValueError(f"--figure {name}: {nearest(name, known)}")
        title, rows = f"Figure {name} of the thesis, run again", figures[name]
    return write_figure(runs, output, title=title, rows=rows, by_data=by_data)


def rows_of_figures() -> dict[str, dict[str, str]]:
    """Return figure -> rows of the thesis' appendix and how certain they are."""
    return {key: rows for key, rows in FIGURES.items() if key[0].isdigit()}


def draw_songs(
    name: str, sources: Sequence[Path], output: Path
) -> tuple[list[Path], str]:
    """Figures 4.1 and 4.2: the songs of a collection, or prepared, over a tag."""
    if len(sources) != 1:
        raise ValueError(
            f"--figure {name}: name a collection (.yaml, .jsonl) or a prepared folder; "
            "`python -m data_pipelines.readers.demo_takes DIR` makes one to try"
        )
    from data_pipelines.collections.file import read_collection
    from data_pipelines.prepare.choice import survey
    from sepjax.report.figures.survey import write_survey

    path, tag = sources[0], TAGS[name]
    counts = survey(path if path.is_dir() else read_collection(path))
    if tag not in counts:
        raise ValueError(f"no song of {path} has the tag '{tag}': {', '.join(counts)}")
    title = f"Figure {name} of the thesis (inferred: songs by {tag})"
    return write_survey({tag: counts[tag]}, output, title)


def draw_filters(runs: Sequence[Path], output: Path) -> tuple[list[Path], str]:
    """Figure 5.2: filters of a run's encoder, or of banks as they are initialized."""
    from sepjax.functional import filterbanks as bank
    from sepjax.report.figures.filters import run_banks, write_filter_figure

    if len(runs) > 1:
        raise ValueError("--figure 5.2 shows the filters of one run")
    if runs:
        banks, rate = run_banks(runs[0])
        note = f"Filters of the encoder of {runs[0].resolve().name} after training."
    else:
        rate, layout = 8000, dict(sample_rate=8000, spacing="mel")
        low, high = bank.sinc_params_to_bands(bank.init_sinc(220, **layout))
        tones = bank.gammatone_params_to_physical(bank.init_gammatone(440, **layout))
        # The lengths of the rows irm_fb_sinc_free and irm_fb_pmpgtf_free.
        banks = {
            "sinc": bank.sinc_kernel(low, high, 25),
            "gammatone": bank.gammatone_kernel(*tones, 20),
        }
        note = "Filters as they are initialized, before training."
    title = "Figure 5.2 of the thesis, drawn again"
    return write_filter_figure(banks, rate, output, title=title, note=note)
