"""Content as pieces of one size, and the manifest that says how many there must be."""

import hashlib
import struct
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from copilot_common.base.errors import TooLarge
from copilot_common.blobs.protocol import BlobInfo, Upload

PIECE_BYTES = 256 * 1024
"""Large enough that a round trip counts little, small enough to hold one for each of a thousand readers."""

_MANIFEST = struct.Struct(">QI32s")


@dataclass(frozen=True)
class Manifest:
    """It names its piece size, so that ours can change."""

    size_bytes: int
    piece_bytes: int
    sha256: bytes

    @property
    def piece_count(self) -> int:
        return -(-self.size_bytes // self.piece_bytes)

    def length_of(self, number: int) -> int:
        return min(self.piece_bytes, self.size_bytes - number * self.piece_bytes)

    def info(self, blob_id: UUID) -> BlobInfo:
        return BlobInfo(blob_id, self.size_bytes, self.sha256)

    def encode(self) -> bytes:
        return _MANIFEST.pack(self.size_bytes, self.piece_bytes, self.sha256)

    @classmethod
    def decode(cls, encoded: bytes) -> "Manifest":
        return cls(*_MANIFEST.unpack(encoded))


class Tally:
    """What has been written so far, in pieces of one size."""

    def __init__(self, piece_bytes: int) -> None:
        self._piece_bytes = piece_bytes
        self._count = 0
        self._size_bytes = 0
        self._sha256 = hashlib.sha256()

    def add(self, piece: bytes) -> int:
        """Returns the piece's number."""
        self._count += 1
        self._size_bytes += len(piece)
        self._sha256.update(piece)
        return self._count - 1

    def manifest(self) -> Manifest:
        return Manifest(self._size_bytes, self._piece_bytes, self._sha256.digest())

    def upload(self, blob_id: UUID) -> Upload:
        return Upload(blob_id, self._size_bytes, self._piece_bytes, self._sha256.digest())


def split(data: bytes, piece_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(data), piece_bytes):
        yield data[start : start + piece_bytes]


async def regroup(chunks: AsyncIterable[bytes], piece_bytes: int, *, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Chunks of any size as pieces, all of them full but the last. Holds at most two besides the chunk."""
    size_bytes = 0
    waiting = bytearray()
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise TooLarge("content", max_bytes=max_bytes)
        for part in split(chunk, piece_bytes):
            waiting += part
            if len(waiting) >= piece_bytes:
                with memoryview(waiting) as view:
                    piece = bytes(view[:piece_bytes])
                del waiting[:piece_bytes]
                yield piece
                del piece
    if waiting:
        yield bytes(waiting)
