"""Files appear whole or not at all, written by one module."""

import functools
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sepjax.storage import atomic_folder, move, to_json, write_atomically

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
