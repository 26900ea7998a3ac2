"""Downloads from a server on this machine that behaves as badly as servers do."""

import contextlib
import hashlib
import http.server
import re
import threading

import numpy as np
import pytest

from sepjax import progress
from sepjax.download import DownloadError, fetch

DATA = np.random.default_rng(0).bytes(300_000)
PREFIX = hashlib.sha256(DATA).hexdigest()[:8]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


class Server(http.server.ThreadingHTTPServer):
    """Serves DATA; what it does wrong is set on it."""

    ranges = True
    lengths = True  # says how long an answer is
    cuts = ()  # bytes after which the first answers break off
    answers = ()  # statuses of the first answers instead
    told = ()  # header lines of every answer instead of its length
    trickles = False  # a byte now and then, for ever

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.done = threading.Event()
        self.asked = []  # the ranges of all requests

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/vocals.pth"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range", "")
        number = len(server.asked)
        server.asked.append(wanted)
        if number < len(server.answers) and server.answers[number]:
            self.send_error(server.answers[number])
            return
        if server.told:
            self.send_response(302 if "Location" in dict(server.told) else 200)
            for name, value in server.told:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(DATA[:10])
            return
        if server.trickles:
            self.wfile.write(server.trickles)
            with contextlib.suppress(OSError):
                while not server.done.wait(0.01):
                    self.wfile.write(b"1")
            return
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        start = int(match[1]) if match and server.ranges else 0
        if start >= len(DATA):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(DATA)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if match and server.ranges else 200)
        if match and server.ranges:
            told = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
            self.send_header("Content-Range", told)
        if server.lengths:
            self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        cut = server.cuts[number] if number < len(server.cuts) else None
        self.wfile.write(DATA[start:cut])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.done.set()
        running.shutdown()
        thread.join()


def get(server, folder, **options):
    options = {"sha256_prefix": PREFIX, "pause": 0.001, "timeout": 5} | options
    return fetch(server.url, folder / "vocals.pth", **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0)
    path = get(server, tmp_path / "new" / "folder", progress=True)
    assert path.read_bytes() == DATA
    assert names(path.parent) == ["vocals.pth"]
    assert re.search(r"vocals\.pth: 300k of 300k", capsys.readouterr().err)
    assert get(server, path.parent) == path
    assert server.asked == [""]  # what is there is not fetched again
    path.write_bytes(DATA[:-1])
    with pytest.raises(DownloadError, match="is there, but not the file of"):
        get(server, path.parent)
    assert path.read_bytes() == DATA[:-1]


def test_an_interrupted_transfer_goes_on(server, tmp_path):
    server.cuts = (100_000, 100_000, 250_000)  # the second one gets no further
    assert get(server, tmp_path).read_bytes() == DATA
    first, *later = server.asked
    assert first == ""
    assert later == ["bytes=100000-", "bytes=100000-", "bytes=250000-"]
    assert names(tmp_path) == ["vocals.pth"]


def test_another_call_goes_on(server, tmp_path):
    server.cuts = (100_000,) * 3
    with pytest.raises(DownloadError, match=r"after 100000 of 300000 bytes.* is kept"):
        get(server, tmp_path, attempts=2)
    # No partial file has the name of a whole one.
    assert names(tmp_path) == ["vocals.pth.part"]
    assert (tmp_path / "vocals.pth.part").read_bytes() == DATA[:100_000]
    server.cuts = ()
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.asked[-1] == "bytes=100000-"


def test_a_server_without_ranges(server, tmp_path):
    server.ranges, server.cuts = False, (100_000, 50_000)
    assert get(server, tmp_path).read_bytes() == DATA
    assert len(server.asked) == 3


def test_a_server_without_ranges_that_always_breaks_off(server, tmp_path):
    server.ranges, server.cuts = False, (100_000,) * 9
    with pytest.raises(DownloadError, match="3 times in a row"):
        get(server, tmp_path, attempts=3)
    assert len(server.asked) == 3
    assert names(tmp_path) == ["vocals.pth.part"]


def test_without_a_length_the_hash_tells(server, tmp_path):
    server.lengths, server.cuts = False, (100_000,)
    with pytest.raises(DownloadError, match="not the published file"):
        get(server, tmp_path)
    assert names(tmp_path) == []
    assert get(server, tmp_path).read_bytes() == DATA


def test_what_was_there_before_is_another_file(server, tmp_path):
    part = tmp_path / "vocals.pth.part"
    for old in (b"x" * 1000, b"x" * 400_000):  # shorter, and longer
        part.write_bytes(old)
        assert get(server, tmp_path).read_bytes() == DATA
        assert names(tmp_path) == ["vocals.pth"]
        (tmp_path / "vocals.pth").unlink()


def test_all_of_it_was_there(server, tmp_path):
    (tmp_path / "vocals.pth.part").write_bytes(DATA)
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.asked == ["bytes=300000-"]


def test_a_wrong_hash(server, tmp_path):
    with pytest.raises(DownloadError, match=r"published one with 00000000"):
        get(server, tmp_path, sha256_prefix="00000000")
    assert names(tmp_path) == []


def test_busy_servers_are_asked_again(server, tmp_path):
    server.answers = (503, 429)
    assert get(server, tmp_path).read_bytes() == DATA
    server.asked, server.answers = [], (500,) * 9
    with pytest.raises(DownloadError, match=r"answers 500 .*2 times in a row"):
        get(server, tmp_path / "b", attempts=2)


def test_a_file_that_does_not_exist(server, tmp_path):
    server.answers = (404,)
    with pytest.raises(DownloadError, match=r"vocals.pth: the server answers 404"):
        get(server, tmp_path)
    assert len(server.asked) == 1  # asking again would not help
    assert names(tmp_path) == []


def test_nobody_there(tmp_path):
    with Server() as gone:
        pass  # its port is closed again
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 does not answer"):
        get(gone, tmp_path, attempts=2)


def test_no_such_host(tmp_path, monkeypatch):
    def resolve(*arguments, **options):
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.create_connection", resolve)
    url = "https://host.invalid/a"
    with pytest.raises(DownloadError, match=r"no way to host\.invalid .*internet"):
        fetch(url, tmp_path / "a", sha256_prefix=PREFIX)


def test_files_as_addresses(tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    copy = fetch((tmp_path / "a").as_uri(), tmp_path / "b", sha256_prefix=PREFIX)
    assert copy.read_bytes() == DATA
    (tmp_path / "c.part").write_bytes(DATA[:1000])
    copy = fetch((tmp_path / "a").as_uri(), tmp_path / "c", sha256_prefix=PREFIX)
    assert copy.read_bytes() == DATA
    missing = (tmp_path / "missing").as_uri()
    with pytest.raises(DownloadError, match="No such file"):
        fetch(missing, tmp_path / "d", sha256_prefix=PREFIX)


def test_an_md5(server, tmp_path):
    right = hashlib.md5(DATA).hexdigest()
    assert get(server, tmp_path, sha256_prefix="", md5=right).read_bytes() == DATA
    wrong = "0" * 32
    with pytest.raises(DownloadError, match="whose MD5 begins with 000000000000"):
        get(server, tmp_path, sha256_prefix="", md5=wrong)
    with pytest.raises(DownloadError, match=f"its MD5 begins with {right[:12]}, that"):
        get(server, tmp_path / "b", sha256_prefix="", md5=wrong)
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        get(server, tmp_path, sha256_prefix="", md5=right[:8])
    with pytest.raises(ValueError, match="one of sha256_prefix, md5 and unverified"):
        get(server, tmp_path, md5=right)


def test_an_unverified_file_is_one_transfer(server, tmp_path):
    options = {"sha256_prefix": "", "unverified": True}
    (tmp_path / "vocals.pth.part").write_bytes(b"of another file")
    server.cuts = (100_000,)
    assert get(server, tmp_path, **options).read_bytes() == DATA
    # What an earlier call left is not trusted, what this one has got is.
    assert server.asked == ["", "bytes=100000-"]
    assert get(server, tmp_path, **options).read_bytes() == DATA
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("url", "prefix", "message"),
    [
        ("ftp://a/b", PREFIX, "one of https, http, file"),
        ("b", PREFIX, "one of https, http, file"),
        ("https://a/b", "", "4 to 64 hexadecimal digits"),
        ("https://a/b", "vocals", "4 to 64 hexadecimal digits"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path, url, prefix, message):
    with pytest.raises(ValueError, match=message):
        fetch(url, tmp_path / "a", sha256_prefix=prefix)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Content-Length", "abc"),
        ("Content-Length", "-5"),
        ("Content-Length", 5000 * "9"),
        ("Content-Length", str(10**17)),
        ("Location", "ftp://127.0.0.1/x"),
        ("Location", "file:///etc/passwd"),
        ("Location", "data:text/plain,x"),
        ("Location", "http://[/x"),
        ("Location", "http://127.0.0.1:port/x"),
    ],
)
def test_what_a_server_says_is_not_believed(server, tmp_path, header, value):
    server.told = [(header, value)]
    with pytest.raises(DownloadError, match=re.escape(server.url)):
        get(server, tmp_path)
    assert "vocals.pth" not in names(tmp_path)


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 300000\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nServer: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0",
    ],
    ids=["body", "header", "chunk"],
)
def test_a_trickle_ends(server, tmp_path, beginning):
    server.trickles = beginning
    message = re.escape(server.url) + ".*slower than 1000 bytes a second, 2 times"
    message = message.replace("second,", r"second\),")
    with pytest.raises(DownloadError, match=message):
        get(server, tmp_path, timeout=0.3, attempts=2)
