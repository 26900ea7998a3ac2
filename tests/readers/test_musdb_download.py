"""Downloads of archives in miniature, from files and from a server on this machine."""

import functools
import hashlib
import http.server
import threading
import zipfile

import pytest

from data_pipelines.fetch import archive
from data_pipelines.fetch.musdb import ARCHIVES, Published, download
from data_pipelines.manifest import DataError
from data_pipelines.readers import read_dataset
from data_pipelines.readers.musdb import VALIDATION
from sepjax.commands.cli import main
from sepjax.download import DownloadError


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """An archive of the sample's layout in place of the published ones."""
    packed = tmp_path / "server" / "songs.zip"
    packed.parent.mkdir()
    songs = [("train", f"Artist - Song {n}") for n in range(80)]
    songs += [("train", name) for name in VALIDATION]
    songs += [("test", f"Tester - Song {n}") for n in range(50)]
    with zipfile.ZipFile(packed, "w") as file:
        for folder, song in songs:
            file.writestr(f"{folder}/{song}.stem.mp4", b"x")
    md5 = hashlib.md5(packed.read_bytes()).hexdigest()
    archive = Published(packed.as_uri(), "page", packed.stat().st_size, md5)
    monkeypatch.setitem(ARCHIVES, "musdb18", archive)
    bare = archive._replace(size=0, md5="")
    monkeypatch.setitem(ARCHIVES, "musdb18_7s", bare)
    return packed


def test_a_download_is_ready_for_its_reader(published, tmp_path):
    root = download("musdb18", tmp_path / "new" / "root")
    assert len(read_dataset("musdb18_7s", str(root)).recordings) == 144
    published.unlink()  # neither fetched again nor unpacked again
    assert download("musdb18", root) == root


def test_from_a_server(published, tmp_path, monkeypatch):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(published.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/songs.zip"
        archive = ARCHIVES["musdb18"]._replace(url=url)
        monkeypatch.setitem(ARCHIVES, "musdb18", archive)
        root = download("musdb18", tmp_path / "root")
        server.shutdown()
        thread.join()
    assert len(list(root.glob("test/*.stem.mp4"))) == 50


def test_another_archive_is_refused(published, tmp_path):
    published.write_bytes(published.read_bytes() + b"more")
    with pytest.raises(DownloadError, match="its MD5 begins with"):
        download("musdb18", tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_without_a_hash_somebody_has_to_agree(published, tmp_path):
    with pytest.raises(DataError, match=r"no hash of .*add -s unverified=true"):
        download("musdb18_7s", tmp_path / "root")
    assert not (tmp_path / "root").exists()
    root = download("musdb18_7s", tmp_path / "root", unverified=True)
    assert len(read_dataset("musdb18_7s", str(root)).recordings) == 144


def test_the_command(published, tmp_path, capsys):
    given = ["prepare", "musdb18_7s", "--root", str(tmp_path / "root"), "--download"]
    given += ["--write", str(tmp_path / "mine.yaml")]
    assert main(given) == 1
    assert "add -s unverified=true" in capsys.readouterr().err
    assert not main([*given, "-s", "unverified=true"])
    assert "144 recordings" in capsys.readouterr().out


def test_what_is_fetched_by_hand(tmp_path):
    with pytest.raises(
        DataError, match=r"musdb18hq.zip of https://zenodo.org/records/"
    ):
        download("musdb18hq", tmp_path)
    with pytest.raises(DataError, match=r"is not fetched by itself: get .*conditions"):
        download("moisesdb", tmp_path)
    with pytest.raises(DataError, match="did you mean 'musdb18'"):
        download("musdb", tmp_path)


def test_a_disk_that_is_too_small(published, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "SPARE", 1 << 60)
    with pytest.raises(DataError, match=r"musdb18 needs .* GB are free"):
        download("musdb18", tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
