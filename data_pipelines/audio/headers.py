"""Where the samples of a file lie when its header does not say, or says it wrongly.

Programs that write into a pipe cannot go back and fill in a length, recorders are cut
off, WAV counts to 4 GiB, an MP3 may have no count of its frames, and files are joined
by putting one behind the other. What libsndfile would believe is corrected here.
"""

import errno
import io
import mmap
import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from data_pipelines.manifest import DataError

PCM, EXTENSIBLE = 1, 0xFFFE
SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")
WAVES = (b"RIFF", b"RF64", b"BW64")
MOST_CHUNKS = 10_000  # real files have a dozen; each costs a seek
PADDING = 1 << 16  # bytes of zeros behind the samples that are no silence
LEFT = 1 << 13  # bytes that a decoder may leave unread at the end: a frame or two
TAGS = (b"TAG", b"APETAGEX", b"ID3")
CHUNKS = (b"LIST", b"JUNK", b"bext", b"iXML", b"id3 ", b"cue ", b"smpl", b"FLLR")
# The header of an MPEG frame, its side information, flags, counts of frames and bytes.
COUNTS = rb"\xff[\xe2-\xff]..(?:.{32}|.{17}|.{9})(?:Xing|Info)(.{4})(.{4})(.{4})"
ENDLESS = 1 << 45  # bytes: more than any file has


class View(io.RawIOBase):
    """Bytes ``begin`` to ``end`` of a file as if they were all of it, for libsndfile.

    Args:
        path: of the file.
        begin: first byte.
        end: byte behind the last one.
        head: stands in place of the first bytes.
        size: length that readers are told; they find nothing behind ``end``.
    """

    def __init__(self, path: str, begin: int, end: int, head: bytes = b"", size=0):
        self._file = open(path, "rb")
        self._begin, self._end, self._head = begin, end, head
        self._at, self._size = 0, size or end - begin

    def readinto(self, buffer) -> int:
        """Fill the buffer as far as there are bytes."""
        count = len(buffer)
        part = self._head[self._at : self._at + count]
        place = self._begin + self._at + len(part)
        if len(part) < count and place < self._end:
            self._file.seek(place)
            part += self._file.read(min(count - len(part), self._end - place))
        elif self._size - 128 <= self._at < self._size:
            part = part or bytes(min(count, self._size - self._at))  # no tag of an MP3
        self._at += len(part)
        buffer[: len(part)] = part
        return len(part)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; nothing is behind the end."""
        self._at = max(offset + (0, self._at, self._size)[whence], 0)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def left(self) -> int:
        """Return the bytes behind the position."""
        return max(self._end - self._begin - self._at, 0)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class Wav(NamedTuple):
    """What the chunks of a WAV, RF64 or BW64 file say, and what is there."""

    begin: int  # byte of the first sample
    length: int  # bytes of samples
    fields: bytes  # of the format chunk
    plain: bool  # the header says so much, in the way of WAV
    note: str = ""  # what its user should know

    def layout(self) -> tuple[int, int] | None:
        """Return channels and rate of 16-bit PCM, None of any other kind."""
        tag, channels, rate, _, block, bits = struct.unpack("<HHIIHH", self.fields[:16])
        if tag == EXTENSIBLE and self.fields[26:40] == SUBFORMAT:
            # The first two bytes of the subformat's identifier are the plain tag.
            tag = struct.unpack("<H", self.fields[24:26])[0]
        known = tag == PCM and bits == 16 and block == 2 * channels > 0
        return (channels, rate) if known else None

    def view(self, path: str) -> View:
        """Return the file with a header that tells the length, RF64 from 4 GiB on."""
        head, size = b"RIFF\0\0\0\0WAVE", min(self.length, 0xFFFFFFFF)
        if size != self.length:
            head = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack(
                "<IQQQI", 28, self.length + 72, self.length, 0, 0
            )
        head += b"fmt " + struct.pack("<I", len(self.fields)) + self.fields
        head += b"data" + struct.pack("<I", size)
        return View(path, self.begin - len(head), self.begin + self.length, head)


def sources(path: str, wav: Wav | None) -> Iterator[bytes | View]:
    """Yield what libsndfile is to read, one after the other: the file, or views of it.

    Args:
        path: of a regular file that is not empty.
        wav: as :func:`read_wav` found it.
    """
    with open(path, "rb") as file:
        begin = _behind_tags(file)
        file.seek(begin)
        magic = file.read(4)
    size = os.path.getsize(path)
    views: Iterator[View] = iter(())
    if wav is not None:
        views = iter([] if wav.plain else [wav.view(path)])
    elif magic == b"fLaC":  # a view tells what is left behind the samples
        views = iter([View(path, begin, size)])
    elif magic == b"OggS":
        views = _ogg_links(path, size)
    elif magic[:1] == b"\xff" or path.lower().endswith((".mp3", ".mp2")):
        views = _mpeg(path, begin, size)
    whole = True
    for view in views:
        whole = False
        with view:
            yield view
    if whole:
        yield os.fsencode(path)


def read_wav(path: str, size: int) -> Wav | None:
    """Read the chunks of a WAV file of so many bytes; None: it is of another kind.

    Understands plain and extensible format chunks, other chunks before the data, the
    padding byte after a chunk of odd size, sizes of 64 bits (RF64, BW64), and the sizes
    that stand for an unknown one.

    Raises:
        DataError: the header promises more samples than the file holds.
    """
    with open(path, "rb") as file:
        magic = file.read(12)
        if magic[:4] not in WAVES or magic[8:] != b"WAVE":
            return None
        fields, large = b"", None
        for _ in range(MOST_CHUNKS):
            if len(header := file.read(8)) < 8:
                break
            name, length = struct.unpack("<4sI", header)
            begin = file.tell()
            if name == b"fmt ":
                fields = file.read(min(length, 256))
            elif name == b"ds64" and len(sizes := file.read(16)) == 16:
                large = struct.unpack("<8xQ", sizes)[0]
            elif name == b"data":
                if len(fields) < 16:
                    return None
                if large is not None and length == 0xFFFFFFFF:
                    length = large
                plain = magic[:4] == b"RIFF"
                return _measured(file, path, size, Wav(begin, length, fields, plain))
            file.seek(begin + length + length % 2)
    return None


def _measured(file: BinaryIO, path: str, size: int, wav: Wav) -> Wav:
    """With the length that is there, instead of the one that is promised."""
    promised, there = wav.length, max(size - wav.begin, 0)
    if promised > there:
        check_promise(path, promised, there)
        return wav._replace(length=there, plain=False)
    block = max(struct.unpack("<H", wav.fields[12:14])[0], 1)
    if there - promised < block:
        return wav
    rest = _behind(file, wav.begin + promised, size)
    if rest > 1:
        note = f"another recording begins at byte {rest} and is not read: split it"
        return wav._replace(plain=False, note=f"{path}: {note}")
    if not rest:
        return wav
    if is_unknown(promised):
        return wav._replace(length=there, plain=False)
    if _is_hole(file, wav.begin + promised):
        note = f"{path}: behind its samples {there - promised} bytes were never written"
        return wav._replace(note=note)
    # The size of a WAV of more than 4 GiB has lost its upper bits.
    turns = (there - promised) >> 32
    length = promised + (turns << 32) if turns else there
    note = f"promises {promised} bytes of samples, {length} are there and are read"
    return wav._replace(length=length, plain=False, note=f"{path}: its header {note}")


def check_promise(path: str, promised: int, there: int) -> None:
    """Check that the bytes of samples that a header promises are there.

    Raises:
        DataError: some are missing, and the number does not stand for an unknown one.
    """
    if promised > there and not is_unknown(promised):
        raise DataError(
            f"{path}: truncated: its header promises {promised} bytes of samples, "
            f"{there} are there; copy it again"
        )


def is_unknown(size: int) -> bool:
    """Return whether a size in a header stands for an unknown one.

    SoX writes 0x7FFFF000 (AIFF: 0x7F000000), arecord and LAME about 2**31, FFmpeg
    2**32 - 1, GStreamer 0; some subtract the header, some round to whole frames.

    Example:
        >>> is_unknown(0x7FFFF000 - 36), is_unknown(0xFFFFFFFF), is_unknown(529200)
        (True, True, False)
    """
    limits = (0x7F000000, 1 << 31, 1 << 32, 1 << 63, 1 << 64)
    return not size or any(-(1 << 13) <= size - limit <= 1 << 12 for limit in limits)


def _behind(file: BinaryIO, at: int, size: int) -> int:
    """What lies behind the samples: 0 nothing to hear, 1 more of them, else its byte.

    Chunks that end with the file, or are known, tags, and some zeros are no samples.
    """
    file.seek(at)
    if file.read(11).startswith(TAGS):
        return 0
    at += at % 2
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        if len(header := file.read(8)) < 8:
            return 0
        name, length = struct.unpack("<4sI", header)
        fits = all(32 <= byte < 127 for byte in name) and at + 8 + length <= size + 1
        if fits and name in (*WAVES, b"data"):
            return at
        if not fits and name not in CHUNKS:
            break
        at += 8 + length + length % 2
    file.seek(at)
    return int(size - at > PADDING or any(file.read(PADDING)))


def _is_hole(file: BinaryIO, at: int) -> bool:
    """Whether nothing was ever written from a byte on, as in space set aside."""
    file.seek(at)
    if any(file.read(PADDING)):  # what was written shares a block with the space
        return False
    try:
        os.lseek(file.fileno(), at + PADDING, os.SEEK_DATA)
    except AttributeError:  # Windows cannot tell
        return False
    except OSError as error:
        return error.errno == errno.ENXIO
    return False


def _behind_tags(file: BinaryIO) -> int:
    """Where ID3 tags at the beginning of a file end."""
    at = 0
    while (header := file.read(10)).startswith(b"ID3") and len(header) == 10:
        a, b, c, d = header[6:]
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (header[5] & 16 and 10)
        file.seek(at)
    return at


def _mpeg(path: str, begin: int, size: int) -> Iterator[View]:
    """The frames of an MPEG file, unless its first one counts all their bytes."""
    with open(path, "rb") as file:
        end = _before_tags(file, size)
        file.seek(begin)
        data = file.read(1 << 14)
        head, told, counts = b"", ENDLESS, re.search(COUNTS, data, re.DOTALL)
        if counts:
            flags, frames, length = map(int.from_bytes, counts.groups())
            file.seek(begin + counts.start() + length)
            rest = end - file.tell()
            padding = rest <= PADDING and not file.read(max(rest, 0)).strip(b"\0")
            if flags & 3 == 3 and frames and padding:
                return
            if flags & 1:  # more frames than there are: they end with the file
                head, told = data[: counts.start(2)] + b"\x7f\xff\xff\xff", end - begin
                if flags & 2:
                    head += min(told - counts.start(), 0xFFFFFFFF).to_bytes(4)
    yield View(path, begin, end, head, told)


def _before_tags(file: BinaryIO, size: int) -> int:
    """Where tags at the end of a file of so many bytes begin: ID3 1, APE."""
    end = size
    file.seek(max(end - 128, 0))
    if file.read(3) == b"TAG":
        end -= 128
    file.seek(max(end - 32, 0))
    footer = file.read(32)
    if len(footer) == 32 and footer.startswith(b"APETAGEX"):
        length, _, flags = struct.unpack("<III", footer[12:24])
        end -= length + (flags >> 31) * 32
    return end if end > 0 else size


def _ogg_links(path: str, size: int) -> Iterator[View]:
    """The recordings of an Ogg file that holds several, one behind the other."""
    begins, first = [], False
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        at = data.find(b"OggS\0")
        while 0 <= at < size - 27:
            before, first = first, bool(data[at + 5] & 2)  # a stream's first page
            if first and not before:
                begins.append(at)
            at = data.find(b"OggS\0", at + 27)
    if len(begins) > 1:
        for begin, end in zip(begins, [*begins[1:], size]):
            yield View(path, begin, end)
