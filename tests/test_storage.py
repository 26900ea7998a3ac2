"""Files appear whole or not at all, written by one module."""

import functools
import itertools
import math
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sepjax import storage
from sepjax.foreign.yaml_text import parse_yaml
from sepjax.storage import (
    atomic_folder,
    move,
    parse_json,
    read_json,
    to_json,
    write_atomically,
    write_json,
)

ROOT = Path(__file__).parent.parent

# Signs of a writer of its own: a final name is opened, or a temporary one made final.
BY_HAND = re.compile(
    r"^[^>]*(?:\.write_text\(|\.write_bytes\(|np\.save\w*\(\w+ /)|"
    r"os\.replace|os\.rename|\.rename\(|\.replace\(\w+\)|\.replace\(\w+ / |"
    r"""NamedTemporaryFile|mkstemp|f?["'][^"' ]*\.partial["']|["']\.part["']""",
    re.MULTILINE,
)
ALLOWED = {
    "sepjax/storage.py",
    # What has arrived of a download stays under this name, to go on from there.
    "sepjax/download.py",
    # What comes from a pipe lies among the temporary files as long as it is read.
    "data_pipelines/audio/files.py",
}


def test_only_storage_gives_files_their_final_names():
    files = [
        path
        for room in ("sepjax", "data_pipelines", "configs")
        for path in (ROOT / room).rglob("*.py")
    ]
    assert len(files) > 100
    by_hand = {
        str(path.relative_to(ROOT))
        for path in files
        if BY_HAND.search(path.read_text())
    }
    assert by_hand <= ALLOWED
    for name in ALLOWED - {"sepjax/storage.py"}:
        assert "os.replace" not in (ROOT / name).read_text()


def test_a_failed_writer_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "audio"
    with atomic_folder(folder) as part:
        write_atomically(part / "a.txt", "old")

    def fail():
        with atomic_folder(folder) as part:
            write_atomically(part / "a.txt", "new")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        fail()
    assert (folder / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["audio"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(tmp_path):
    write_atomically(tmp_path / "audio" / "a.txt", "old")
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "audio") as part:
        part.rmdir()
    assert (tmp_path / "audio" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["audio"]


@pytest.fixture
def stop_at(monkeypatch):
    """Let a signal come in place of a move, the first, second ..."""

    def arrange(number):
        count = itertools.count(1)

        def stopped(source, target):
            if next(count) == number:
                raise SystemExit(143)
            return move(source, target)

        monkeypatch.setattr(storage, "move", stopped)

    return arrange


@pytest.mark.parametrize("number", [1, 2])
def test_a_signal_between_two_moves_loses_no_folder(tmp_path, stop_at, number):
    write_atomically(tmp_path / "audio" / "a.txt", "old")
    stop_at(number)
    with pytest.raises(SystemExit), atomic_folder(tmp_path / "audio") as part:
        (part / "a.txt").write_text("new")
    assert (tmp_path / "audio" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["audio"]


@pytest.mark.parametrize("number", range(1, 5))
def test_a_signal_between_the_moves_of_files_undoes_them(tmp_path, stop_at, number):
    old = [write_atomically(tmp_path / "there" / name, "old") for name in "ab"]
    new = [write_atomically(tmp_path / "part" / name, "new") for name in "ab"]
    stop_at(number)
    with pytest.raises(SystemExit):
        storage.move_all({path: tmp_path / "there" / path.name for path in new}, old)
    assert [path.read_text() for path in old] == ["old", "old"]


def test_threads_that_write_the_same_file_do_not_meet(tmp_path):
    path, texts = tmp_path / "a", [str(number) * 10_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(functools.partial(write_atomically, path), texts * 4))
    assert path.read_text() in texts
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_move_makes_the_folder_and_replaces_a_file(tmp_path):
    source = write_atomically(tmp_path / "a", "new")
    target = write_atomically(tmp_path / "there" / "b", "old")
    assert move(source, target) == target
    assert (target.read_text(), source.exists()) == ("new", False)


def test_what_json_cannot_spell_is_null():
    tree = {"a": [math.nan, -math.inf, 1.5], "b": "é"}
    assert to_json(tree, indent=None) == '{"a": [null, null, 1.5], "b": "é"}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"a": 1',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\xe4"}',
        b'{"a": "\\udead"}',
        b'{"a": ' + 5000 * b"9" + b"}",
        b"[]",
        b"null",
        b'{"a": ' + 90 * b"[" + 90 * b"]" + b"}",
        100_000 * b"[",
    ],
)
def test_json_that_is_damaged_is_told_with_its_file(tmp_path, content):
    path = tmp_path / "facts.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"facts\.json: .*restore it"):
        read_json(path, dict)


def test_json_of_other_editors_is_read():
    text = b'\xef\xbb\xbf{"a": "\\ud83d\\ude00\xc3\xa4", "b": [[1.5, null]]}'
    assert parse_json(text, dict, "x") == {"a": "\U0001f600\xe4", "b": [[1.5, None]]}


MULTIPLIED = "".join(
    f"- &y{i} [{', '.join(10 * [f'*y{i - 1}' if i else '1'])}]\n" for i in range(12)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join(10 * [f'*a{i - 1}'])}]}}\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MULTIPLIED, "aliases multiply"),
        (MERGED, "aliases multiply"),
        ("a: &a\n  b: [*a]", "holds itself"),
        ("&a [*a]", "holds itself"),
        (200_000 * "[", "nested too deeply"),
        (200_000 * "- " + "a", "nested too deeply"),
        ("a: 2018-13-45", "month"),
        ("a: *b", "undefined alias"),
        ("a: !!python/object:os.system x", "constructor"),
        ("? {a: 1}\n: 2", "unhashable"),
    ],
)
def test_yaml_is_bounded_by_what_is_there(text, message):
    with pytest.raises(ValueError, match=f"(?s)songs.yaml: not readable.*{message}"):
        parse_yaml(text, "songs.yaml")


def test_aliases_of_people_are_read():
    tree = parse_yaml("a: &x {y: 1}\nb: [*x, *x]\nc: {<<: *x, z: 2}", "songs.yaml")
    assert tree == {"a": {"y": 1}, "b": 2 * [{"y": 1}], "c": {"y": 1, "z": 2}}


def test_names_that_are_not_utf8_can_be_written(tmp_path):
    path = write_json(tmp_path / "facts.json", {"references": os.fsdecode(b"caf\xe9")})
    assert read_json(path, dict) == {"references": "caf?"}
