"""Concerts with tables; the reader opens no audio, files of one byte do."""

import pytest

from data_pipelines.manifest import DataError
from data_pipelines.prepare.selection import excluded
from data_pipelines.readers import read_dataset

LABELS = ("lead singer", "kick drum", "snare", "double bass", "trumpet")
NO_BASS = ("vocals", "drums", "other")


def write(root, concerts=3, labels=LABELS, crowds=("low", "medium", "high")):
    tracks = ["concert,file,label,crowd,year,genre"]
    songs = ["concert,name,start,end"]
    for number in range(concerts):
        for part, label in enumerate(labels):
            path = root / f"{number}" / f"{part}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            crowd = crowds[number % len(crowds)]
            tracks.append(f"c{number},{number}/{part}.wav,{label},{crowd},2018,jazz")
        songs += [f"c{number},song2,1:00.5,0:02:00", f"c{number},song1,12.5,60"]
    (root / "tracks.csv").write_text("\n".join(tracks) + "\n")
    (root / "intervals.csv").write_text("\n".join(songs) + "\n")
    return root


def add(path, *lines):
    with open(path, "a") as file:
        file.write("\n".join(lines) + "\n")


def problems(root, **options):
    with pytest.raises(DataError) as error:
        read_dataset("montreux", str(root), **options)
    return str(error.value)


def test_the_protocol_of_chapter_six(tmp_path, recwarn):
    found = read_dataset("montreux", str(write(tmp_path)))
    assert not recwarn.list
    assert found.classes == ("vocals", "drums", "bass", "other")
    concert = found.recordings[1]
    assert (concert.id, concert.group) == ("c1", "c1")
    assert concert.tags == {"crowd": "medium", "year": 2018, "genre": "jazz"}
    assert [found.class_of(part.label) for part in concert.tracks] == [
        *("vocals", "drums", "drums", "bass", "other"),
    ]
    assert {part.channels for part in concert.tracks} == {"mean"}
    assert [(one.name, one.start, one.end) for one in concert.intervals] == [
        ("song1", 12.5, 60.0),
        ("song2", 60.5, 120.0),
    ]
    # One factor for all of a concert, and none for a class.
    assert (found.mix.mode, found.mix.beta, found.mix.guard) == (
        *("adaptive", "never", "total"),
    )
    assert (found.filters.require_classes, found.filters.apply) == (
        *("all", "before_split"),
    )
    assert found.splits.counts == {"train": 88, "valid": 16, "test": 52}
    assert (found.splits.stratify, found.splits.by) == ("crowd", "song")
    assert found.output.channels == 2


def test_options(tmp_path):
    root = str(write(tmp_path))
    options = {"guard": "all", "by": "group", "exclude": ["c0", "c1/song2"]}
    found = read_dataset("montreux", root, min_active_seconds=3.0, **options)
    assert (found.mix.guard, found.splits.by) == ("all", "group")
    assert found.filters.exclude == ("c0", "c1/song2")
    assert found.filters.min_active_seconds == 3.0
    assert "by='concert': Known: group, song" in problems(root, by="concert")
    assert "'c1/song3' is no concert, nor concert/name; did you mean 'c1/" in problems(
        root, exclude="c1/song3"
    )


def test_concerts_that_lack_a_class_are_left_out(tmp_path):
    root = write(tmp_path)
    for number, label in enumerate(NO_BASS):
        add(root / "tracks.csv", f"c9,{number}/9.wav,{label},low,2017,rock")
        (root / f"{number}" / "9.wav").write_bytes(b"x")
    with pytest.warns(UserWarning, match="left out: c9 has no bass"):
        found = read_dataset("montreux", str(root))
    assert len(found.recordings) == 4  # prepared.jsonl tells what is dropped
    assert excluded(found, found.recordings[3]) == "has no track of bass"


def test_every_problem_has_its_line(tmp_path):
    root = write(tmp_path, concerts=2)
    add(
        root / "tracks.csv",
        "c1,1/0.wav,voice,medium,2018,jazz",
        "c1,1/9.wav,flut,medium,2018,jazz",
        "c1,1/4.wav,flute,hihg,2018,jazz",
    )
    add(
        root / "intervals.csv",
        "c7,song1,0,1",
        "c0,song3,soon,later",
        "c0,song4,3:00,2:59",
        "c0,song5,300",
    )
    text = problems(root)
    for told in (
        "tracks.csv line 12: 1/0.wav: in line 7 already",
        f"tracks.csv line 13: 1/9.wav: no such file in {root}",
        "tracks.csv line 13: 'flut' is no instrument that is known; did you mean ",
        "tracks.csv line 14: crowd 'hihg': did you mean 'high'",
        "concert 'c1': crowd is 'hihg' (line 14) and 'medium' (line 7)",
        "intervals.csv line 6: no concert 'c7' has tracks; did you mean ",
        "intervals.csv line 7: 'soon' to 'later': seconds or h:mm:ss are wanted",
        "intervals.csv line 8: '3:00' to '2:59': seconds or h:mm:ss are wanted",
        "intervals.csv line 9: no value in column 'end'",
    ):
        assert told in text


def test_songs_must_not_overlap(tmp_path):
    root = write(tmp_path)
    add(root / "intervals.csv", "c0,song3,110,200")
    assert "recording 'c0': interval 'song3' overlaps the one before" in problems(root)


def test_concerts_need_songs(tmp_path):
    root = write(tmp_path)
    lines = (root / "intervals.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("c2")]
    (root / "intervals.csv").write_text("\n".join(kept))
    assert "intervals.csv: no song of 'c2'; or give exclude=c2" in problems(root)
    found = read_dataset("montreux", str(root), exclude="c2")
    assert found.filters.exclude == ("c2",)
    (root / "intervals.csv").unlink()
    assert "write a table whose first line is concert,name,start,end" in problems(root)
