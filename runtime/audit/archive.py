"""The members of a zip archive, one at a time and within limits: what it says of its own size is not believed."""

from __future__ import annotations

import importlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from bylaw.runtime.audit.inputs import Limits, TranscriptError, Unreadable, quote

_ZSTANDARD = 93
_PIECE = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_END = struct.Struct("<4sHHHHIIH")
_LARGEST_DIRECTORY = 100_000_000
_LONGEST_END = _END.size + 0xFFFF
_IN_64_BITS = 0xFFFFFFFF
_END_64 = struct.Struct("<4s36xQ8x")
_LOCATOR_64 = struct.Struct("<4s4xQ4x")


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Archive:
    """An open archive. Of two members with the same name the later one counts, as the format has it."""

    def __init__(self, file: BinaryIO, archive: zipfile.ZipFile, limits: Limits, shown: str) -> None:
        self._file, self._archive, self._limits, self._shown = file, archive, limits, shown
        self._unpacked = 0
        self.names = tuple(dict.fromkeys(archive.namelist()))
        self._folders: dict[str, list[str]] = {}
        for name in self.names:
            self._folders.setdefault(name.rpartition("/")[0], []).append(name)

    def within(self, folder: str) -> Sequence[str]:
        """The names of the members that lie in a folder, those of folders in it left aside."""
        return self._folders.get(folder, ())

    def read(self, name: str) -> bytes:
        """What a member unpacks to.

        Raises Unreadable for a member that is damaged, packed in a way that cannot be read here, or too large;
        TranscriptError when all members read so far are too large together.
        """
        info = self._archive.getinfo(name)
        if info.flag_bits & 1:
            raise Unreadable("it is encrypted")
        left = self._limits.file_bytes - self._unpacked
        allowed = min(self._limits.sample_bytes, left)
        try:
            with self._open(info) as stream:
                data = _at_most(stream, allowed)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError) as error:
            raise Unreadable(f"it is damaged: {str(error)[:200] or type(error).__name__}") from None
        self._unpacked += len(data)
        if len(data) > left:
            raise TranscriptError(
                f"{quote(self._shown)} unpacks to more than {self._limits.file_bytes:,} bytes; split it"
            )
        if len(data) > allowed:
            raise Unreadable(f"it unpacks to more than {self._limits.sample_bytes:,} bytes")
        return data

    @contextmanager
    def _open(self, info: zipfile.ZipInfo) -> Iterator[_Stream]:
        if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            with self._archive.open(info) as stream:
                yield stream
        elif info.compress_type == _ZSTANDARD:
            with _zstandard(self._packed(info)) as stream:
                yield _Checked(stream, info)
        else:  # others, of which no log makes use, unpack to any size at once
            raise Unreadable(f"it is packed by the method {info.compress_type}, which no log of Inspect uses")

    def _packed(self, info: zipfile.ZipInfo) -> bytes:
        """The bytes of a member as they are stored; `zipfile` gives none for a method that it does not know."""
        if info.compress_size > self._limits.sample_bytes:
            raise Unreadable(f"it is larger than {self._limits.sample_bytes:,} bytes")
        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise zipfile.BadZipFile("its header is missing")
        _, name, extra = _LOCAL_HEADER.unpack(header)
        self._file.seek(name + extra, io.SEEK_CUR)
        packed = self._file.read(info.compress_size)
        if len(packed) < info.compress_size:
            raise EOFError("its end is missing")
        return packed


@contextmanager
def opened(path: Path, limits: Limits, shown: str) -> Iterator[Archive]:
    """The archive at `path`. Raises TranscriptError where there is none, or where it is too large."""
    with path.open("rb") as file:
        if file.seek(0, io.SEEK_END) > limits.file_bytes:
            raise TranscriptError(f"{quote(shown)} is larger than {limits.file_bytes:,} bytes; split it")
        try:
            if _directory_bytes(file) > _LARGEST_DIRECTORY:
                raise TranscriptError(f"{quote(shown)} lists too many parts; split it")
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError, EOFError) as error:
            why = f"{quote(shown)} is no zip archive, or it was not written to its end: {error}"
            raise TranscriptError(why) from None
        with archive:
            yield Archive(file, archive, limits, shown)


def _directory_bytes(file: BinaryIO) -> int:
    """How long the list of members says that it is, which `zipfile` would read in one piece; 0 where there is none."""
    size = file.seek(0, io.SEEK_END)
    start = max(0, size - _LONGEST_END)
    file.seek(start)
    tail = file.read(_LONGEST_END)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return 0
    length = int(_END.unpack_from(tail, at)[5])
    before = start + at - _LOCATOR_64.size
    if length != _IN_64_BITS or before < 0:
        return length
    file.seek(before)
    mark, place = _LOCATOR_64.unpack(file.read(_LOCATOR_64.size))
    if mark != b"PK\x06\x07" or place + _END_64.size > size:
        return length
    file.seek(place)
    return int(_END_64.unpack(file.read(_END_64.size))[1])


def _at_most(stream: _Stream, most: int) -> bytes:
    """All of a stream, or one piece more than `most` bytes of it."""
    found = bytearray()
    while len(found) <= most and (piece := stream.read(_PIECE)):
        found += piece
    return bytes(found)


def _zstandard(packed: bytes) -> Any:
    """A stream that unpacks as it is read. Raises Unreadable where no library for it is installed."""
    for name in ("compression.zstd", "pyarrow", "zstandard"):  # the first is in Python from 3.14 on
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        if name == "pyarrow":
            return library.CompressedInputStream(library.BufferReader(packed), "zstd")
        if name == "zstandard":
            return library.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        return library.ZstdFile(io.BytesIO(packed))
    raise Unreadable(
        "it is packed with Zstandard, which needs the extra `parquet` (pyarrow is missing): "
        "install bylaw with it, as in pip install '.[parquet]'"
    )


class _Checked:
    """A stream whose bytes have to be those that the archive was made from."""

    def __init__(self, stream: _Stream, info: zipfile.ZipInfo) -> None:
        self._stream, self._info = stream, info
        self._sum = 0

    def read(self, size: int, /) -> bytes:
        piece = self._stream.read(size)
        self._sum = zlib.crc32(piece, self._sum)
        if not piece and self._sum != self._info.CRC:
            raise zipfile.BadZipFile("its checksum is wrong")
        return piece
