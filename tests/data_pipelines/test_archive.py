import zipfile

import pytest

from data_pipelines.fetch import archive
from data_pipelines.fetch.archive import unpack
from data_pipelines.manifest import DataError
from sepjax import progress


def write(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_what_is_there_stays(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(progress, "EVERY", 0)
    entries = {"train/a.txt": b"a" * 1000, "test/b.txt": b"b", "test/empty/": b""}
    entries["__MACOSX/train/._a.txt"] = b"litter"
    packed = write(tmp_path / "a.zip", entries)
    folder = unpack(packed, tmp_path / "new" / "folder", progress=True)
    assert files(folder) == ["test/b.txt", "train/a.txt"]
    assert "unpacking a.zip: 2 of 2" in capsys.readouterr().err
    (folder / "train" / "a.txt").write_bytes(b"half")
    (folder / "test" / "b.txt").write_bytes(b"c")  # as large as it should be
    unpack(packed, folder)
    assert (folder / "train" / "a.txt").read_bytes() == b"a" * 1000
    assert (folder / "test" / "b.txt").read_bytes() == b"c"


@pytest.mark.parametrize(
    "name",
    ["../a", "b/../../a", "/a", "..\\a", "C:\\a", "C:/a", "\\\\server\\share\\a"],
)
def test_nothing_lies_outside_the_folder(tmp_path, name):
    packed = write(tmp_path / "a.zip", {"fine.txt": b"x", name: b"y"})
    with pytest.raises(DataError, match="would lie outside the folder"):
        unpack(packed, tmp_path / "in" / "folder")
    assert files(tmp_path) == ["a.zip"]


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("train")
    link.external_attr = 0o120777 << 16
    packed = write(tmp_path / "a.zip", {link: "/etc", "train/passwd": b"x"})
    with pytest.raises(DataError, match="'train' is a link"):
        unpack(packed, tmp_path / "folder")
    assert files(tmp_path) == ["a.zip"]


def test_damaged_archives(tmp_path):
    packed = write(tmp_path / "a.zip", {"a.txt": b"a" * 100}, zipfile.ZIP_STORED)
    whole = packed.read_bytes()
    packed.write_bytes(whole.replace(b"a" * 100, b"a" * 99 + b"b"))
    with pytest.raises(DataError, match=r"a\.zip: damaged, .*delete it and fetch it"):
        unpack(packed, tmp_path / "folder")
    assert files(tmp_path / "folder") == []  # no file has its name without its content
    deflated = write(tmp_path / "b.zip", {"a.txt": b"a" * 9999}).read_bytes()
    (tmp_path / "b.zip").write_bytes(deflated[:35] + b"\xff" * 9 + deflated[44:])
    with pytest.raises(DataError, match=r"b\.zip: damaged"):
        unpack(tmp_path / "b.zip", tmp_path / "folder")
    packed.write_bytes(whole[:-30])
    with pytest.raises(DataError, match=r"a\.zip: damaged, or no ZIP archive"):
        unpack(packed, tmp_path / "folder")


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    packed = write(tmp_path / "a.zip", {"a.txt": b"a" * 1000})
    monkeypatch.setattr(archive, "SPARE", 1 << 60)
    with pytest.raises(DataError, match=r"a\.zip needs .* GB are free"):
        unpack(packed, tmp_path / "folder")
    assert files(tmp_path) == ["a.zip"]
