"""The door to a run folder: damaged files are named, and no other folder is read."""

import json
import zipfile

import numpy as np
import pytest
import soundfile

from sepjax.report import write_report
from sepjax.report.figures.grid import write_figure
from sepjax.report.run_folder import FACTS, FILES, inside, read_run
from sepjax.report.score_table import score_table
from sepjax.train.log import MetricLog, read_log


def change(path, change):
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("file", "keys", "value", "field"),
    [
        ("config.json", ("data", "sources"), 5, "data.sources"),
        ("config.json", ("data", "sources"), "vocals", "data.sources"),
        ("config.json", ("data", "sources", 0), None, r"data.sources\[0\]"),
        ("config.json", ("data", "sample_rate"), -8000, "data.sample_rate"),
        ("config.json", ("train",), [], "train"),
        ("config.json", ("seed",), True, "seed"),
        ("results.json", ("tracks",), 5, "tracks"),
        ("results.json", ("tracks", 0), None, r"tracks\[0\]"),
        ("results.json", ("tracks", 1, "model"), "x", r"tracks\[1\].model"),
        ("results.json", ("model", "bass", "si_sdr"), "4.2", "model.bass.si_sdr"),
        ("results.json", ("model", "bass", "si_sdr"), True, "model.bass.si_sdr"),
        ("results.json", ("model", "bass", "tracks"), -1, "model.bass.tracks"),
        ("results.json", ("model", "bass", "usdr_tracks"), None, "model.bass.usdr_t"),
        ("results.json", ("mean", "model"), None, "mean.model"),
        ("results.json", ("definition", "aggregation"), 3, "definition.aggregation"),
        ("results.json", ("failed",), [{"name": "a"}], r"failed\[0\].error"),
        ("audio/index.json", (0,), 1, r"\[0\]"),
        ("audio/index.json", (0, "mixture"), None, r"\[0\].mixture"),
        ("audio/index.json", (0, "sample_rate"), 8000.5, r"\[0\].sample_rate"),
        ("audio/index.json", (0, "references"), ["a"], r"\[0\].references"),
    ],
)
def test_a_field_of_another_type_is_named(run, file, keys, value, field):
    def set_value(tree):
        for key in keys[:-1]:
            tree = tree[key]
        tree[keys[-1]] = value

    change(run / file, set_value)
    with pytest.raises(ValueError, match=rf"{file}: {field}.* is (wanted|missing)"):
        write_report(run)
    if file == "results.json":
        with pytest.raises(ValueError, match=rf"{file}: {field}"):
            score_table([run])
    if file == "config.json":
        with pytest.raises(ValueError, match=rf"{file}: {field}"):
            write_figure([run], run / "figure.svg", title="")


@pytest.mark.parametrize(
    "text", [b"{}", b"[]", b"null", b'{"mea', b"\xe9", b"[" * 99999]
)
def test_results_that_hold_no_scores_are_named(run, text):
    (run / "results.json").write_bytes(text)
    for use in (write_report, lambda run: score_table([run])):
        with pytest.raises(ValueError, match=r"results\.json: "):
            use(run)


def test_lines_that_are_no_records_stop_neither_report_nor_resume(run):
    path = run / "metrics.jsonl"
    lines, before = path.read_bytes().splitlines(), read_log(path)
    others = (b"3", b"[]", b"null", b'{"kind": "train"}', b'{"kind": 1, "step": 1}')
    others += (b'{"\xe9": 1}', b'{"kind": "train", "step": -1}', b"[" * 99999)
    others += (b'{"kind": "valid", "step": 1.5}', b'{"kind": "valid", "step": true}')
    others += (b'{"kind": "valid", "step": 7, "loss": "low"}',)
    path.write_bytes(b"\n".join([*lines[:3], *others, *lines[3:]]) + b"\n")
    assert read_run(run).unreadable_lines == len(others)
    assert f"{len(others)} unreadable line(s)" in write_report(run).read_text()
    with MetricLog(run, start=500, total=1000, shown=False):
        pass
    assert read_log(path) == [record for record in before if record["step"] <= 500]


@pytest.mark.parametrize(
    "name", ["../../secret.flac", "{outside}", "link.flac", "folder/s.flac", "x" * 300]
)
def test_only_files_of_the_run_are_played(run, name):
    outside = run.parent / "secret.flac"
    soundfile.write(outside, np.zeros((8000, 1)), 8000)
    (run.parent / "elsewhere").mkdir()
    soundfile.write(run.parent / "elsewhere" / "s.flac", np.zeros((8000, 1)), 8000)
    (run / "audio" / "link.flac").symlink_to(outside)
    (run / "audio" / "folder").symlink_to(run.parent / "elsewhere")
    name = name.format(outside=outside)
    change(run / "audio/index.json", lambda tree: tree[0].update(mixture=name))
    with pytest.raises(ValueError, match=r"no file inside.*audio/index\.json"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_no_file_of_a_run_is_a_link_out_of_it(run):
    for name in set(FILES) - {"audio/index.json"}:
        text = (run / name).read_bytes()
        (run.parent / name).write_bytes(text)
        (run / name).unlink()
        (run / name).symlink_to(run.parent / name)
        with pytest.raises(ValueError, match=rf"{name}: is no file inside"):
            read_run(run)
        (run / name).unlink()
        (run / name).write_bytes(text)
    (run / "again.json").symlink_to("config.json")
    assert inside(run, "again.json").exists(), (
        "a link within the run leads nowhere else"
    )


def test_names_of_tracks_lead_to_no_other_picture(run):
    (run.parent / "secret.svg").write_text("<svg>secret</svg>")
    (run / "plots" / "tracks").mkdir(parents=True)
    name = "../../../secret"
    change(run / "results.json", lambda tree: tree["tracks"][0].update(name=name))
    page = write_report(run).read_text()
    assert "data:image/svg" not in page
    (run / "plots/tracks/_._.._.._secret.svg").symlink_to(run.parent / "secret.svg")
    change(run / "results.json", lambda tree: tree["tracks"][0].update(name=name))
    with pytest.raises(ValueError, match=r"secret\.svg: is no file inside"):
        write_report(run)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"final/encoder/conv": np.zeros((4, 0))}, "shape"),
        ({"final/encoder/conv": np.zeros((2, 3, 4))}, "shape"),
        ({"final/encoder/conv": np.zeros((1, 9000))}, "shape"),
        ({"final/encoder/conv": np.full((2, 2), np.nan)}, "not finite"),
        ({"final/encoder/conv": np.zeros((2, 2), complex)}, "no array of"),
        ({"conv": np.zeros((2, 2))}, "no array of"),
    ],
)
def test_filters_are_checked(run, arrays, text):
    np.savez(run / "filters.npz", **arrays)
    with pytest.raises(ValueError, match=rf"filters\.npz.*{text}"):
        read_run(run)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([{"branch": "a"}], "channels"),
        ({}, "a list is wanted"),
        ([dict.fromkeys(FACTS, "1")], "number"),
    ],
)
def test_branches_are_checked(run, rows, text):
    (run / "branches.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=rf"branches\.json.*{text}"):
        read_run(run)


def test_filters_that_grow_when_unpacked_are_refused(run):
    with zipfile.ZipFile(run / "filters.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("final/x.npy", bytes((1 << 28) + 1))
    with pytest.raises(ValueError, match=r"filters\.npz.*MiB"):
        read_run(run)


def test_excerpts_that_cannot_be_shown_are_named(run):
    entry = json.loads((run / "audio/index.json").read_text())[0]
    path = run / "audio" / "long.wav"
    change(run / "audio/index.json", lambda tree: tree[0].update(mixture="long.wav"))
    for wave in (np.zeros((0, 1)), np.full((80, 1), np.inf)):
        soundfile.write(path, wave, entry["sample_rate"], "FLOAT")
        with pytest.raises(ValueError, match=r"long\.wav.*audio/index\.json"):
            write_report(run)


def test_names_are_no_markup_of_figures_and_no_controls(run):
    change(run / "config.json", lambda tree: tree.update(name=r"$\frac$ \x1b\0"))
    change(run / "results.json", lambda tree: tree["tracks"][0].update(name="a\x1b\0b"))
    assert not {"\x1b", "\0"} & set(write_report(run).read_text())
    files, _ = write_figure([run], run / "figure.svg", title="")
    assert files[0].exists()


def test_the_page_says_what_the_model_cannot_hear(run):
    assert "cannot hear" not in write_report(run).read_text()
    facts = {"recorded_rate": 44100}
    change(run / "results.json", lambda tree: tree["provenance"].update(facts))
    text = write_report(run).read_text()
    assert "44.1 kHz; what they hold above 4 kHz the model cannot hear" in text
