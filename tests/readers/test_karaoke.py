"""Karaoke tracks with a table; the reader opens no audio, files of one byte do."""

import pytest

from data_pipelines.manifest import DataError
from data_pipelines.readers import read_dataset

INSTRUMENTS = ("lead vocals", "drums", "bass guitar", "alto sax", "lead guitar")


def write(root, songs=10, instruments=INSTRUMENTS, head="song,file,label", more=""):
    lines = [head]
    for song in range(songs):
        for number, label in enumerate(instruments):
            path = root / f"{song}" / f"{number}.mp3"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            lines.append(f"Song {song},{song}/{number}.mp3,{label}{more}")
    (root / "tracks.csv").write_text("\n".join(lines) + "\n")
    return str(root)


def problems(root, **options):
    with pytest.raises(DataError) as error:
        read_dataset("karaoke", str(root), **{"train": 6, "valid": 1} | options)
    return str(error.value)


def test_a_table(tmp_path):
    more = ",Some Band,pop"
    root = write(tmp_path, head="song,file,label,group,Genre", more=more)
    found = read_dataset("karaoke", root, train=6, valid=1)
    assert found.classes == (
        *("vocals", "drums", "bass", "electric_guitar", "wind", "other"),
    )
    song = found.recordings[3]
    assert (song.id, song.group, song.tags) == ("Song 3", "Some Band", {"genre": "pop"})
    assert [part.path for part in song.tracks] == [f"3/{n}.mp3" for n in range(5)]
    assert [found.class_of(part.label) for part in song.tracks] == [
        *("vocals", "drums", "bass", "wind", "electric_guitar"),
    ]
    assert (found.mix.mode, found.mix.beta, found.output.channels) == (
        *("adaptive", "when_needed", 2),
    )


def test_the_protocol_of_chapter_four(tmp_path):
    root = write(tmp_path, songs=1001, instruments=["drums"])
    found = read_dataset("karaoke", root)
    assert (found.filters.require_classes, found.filters.apply) == (
        *("all", "after_split"),
    )
    assert found.splits.counts == {"train": 900, "valid": 100, "test": -1}
    assert (found.splits.keep, found.splits.seed) == ({"test": 48}, 42)
    everything = read_dataset("karaoke", root, all_instruments=False, test=-1)
    assert (everything.required, everything.splits.keep) == ((), {})


def test_eleven_classes(tmp_path):
    root = write(tmp_path, instruments=["guitar", "electric guitar", "oboe"])
    found = read_dataset("karaoke", root, classes="eleven", train=6, valid=1)
    song = found.recordings[0]
    assert [found.class_of(part.label) for part in song.tracks] == [
        *("guitar", "guitar", "woodwind"),
    ]
    # Of a guitar nobody knows whether it was electric.
    text = problems(root)
    assert "tracks.csv line 2 and 9 more: 'guitar' is no instrument that is" in text
    assert "did you mean" in text
    labels = {"guitar": "acoustic guitar"}
    found = read_dataset("karaoke", root, labels=labels, train=6, valid=1)
    assert found.class_of("guitar") == "other"
    found = read_dataset("karaoke", root, default_class="other", train=6, valid=1)
    assert found.class_of("guitar") == "other"
    assert "default_class='othr': did you mean 'other'" in problems(
        root, default_class="othr"
    )


def test_too_few_songs(tmp_path):
    root = write(tmp_path)
    text = problems(root, train=9, valid=1)
    assert "10 songs are too few for train=9, valid=1 and some to test" in text
    assert "train=6 valid=1" in text


def test_every_problem_has_its_line(tmp_path):
    write(tmp_path, songs=2, head="song,file,label,group", more=",Band")
    with open(tmp_path / "tracks.csv", "a") as file:
        file.write("# a remark\n\n")
        file.write("Song 1,1/0.mp3,drums,Band\n")  # line 14
        file.write("Song 1,1/9.mp3,drums,Bend\n")
        file.write("Song 1,1/1.mp3,drums,Band,and,more\n")
        file.write("Song 1,1/2.mp3,,Band\n")
        file.write("Song 1,1/3.mp3,gitar,Band\n")
    text = problems(tmp_path)
    for told in (
        "tracks.csv line 14: 1/0.mp3: in line 7 already",
        f"tracks.csv line 15: 1/9.mp3: no such file in {tmp_path}",
        "tracks.csv line 16: 6 cells under 4 columns",
        "tracks.csv line 17: no value in column 'label'",
        "tracks.csv line 18: 'gitar' is no instrument that is known; did you mean ",
        "song 'Song 1': group is 'Band' (line 7) and 'Bend' (line 15)",
    ):
        assert told in text


def test_a_table_that_is_none(tmp_path):
    assert "write a table whose first line is song,file,label" in problems(tmp_path)
    table = tmp_path / "tracks.csv"
    table.write_text("Song;Path;Label\n")
    assert "no column 'file'; Known: label, path, song" in problems(tmp_path)
    table.write_bytes("song,file,label\nü,a,b".encode("latin-1"))
    assert "not UTF-8" in problems(tmp_path)
    table.write_text("song,file,label\n")
    assert "nothing is left to read" in problems(tmp_path, train=-1, valid=0)


def test_tables_of_spreadsheets(tmp_path):
    write(tmp_path)
    table = tmp_path / "tracks.csv"
    text = table.read_text().replace("Song 0", '"Song, the 0th"').replace(",", ";")
    table.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    found = read_dataset("karaoke", str(tmp_path), train=6, valid=1)
    assert [one.id for one in found.recordings[:2]] == ["Song; the 0th", "Song 1"]
