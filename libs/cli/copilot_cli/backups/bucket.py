"""A prefix of an S3-compatible bucket as a target. An object is there as a whole or not at all.

What the library says of a failure holds the endpoint, so none of it is passed on.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError

from copilot_cli.backups.targets import CHUNK_BYTES
from copilot_common.base.errors import Conflict, NotFound, SettingsError, Unavailable
from copilot_common.blobs.bucket import BucketConfig, open_store

_PART_BYTES = 32 * 1024 * 1024
"""S3 takes 10 000 parts: 320 GB."""
_PARTS_AT_ONCE = 2
"""With the one being filled about 100 MB of memory."""
_READ_BYTES = 8 * CHUNK_BYTES
_REQUEST = timedelta(minutes=5)  # a part at 110 kB/s
_RETRIED = timedelta(minutes=10)
_RETRIES = 8


class BucketTarget:
    def __init__(self, config: BucketConfig) -> None:
        """Connects nothing yet. Raises SettingsError."""
        try:
            self._store = open_store(config, request=_REQUEST, retried=_RETRIED, retries=_RETRIES)
        except ValueError:
            raise SettingsError("The S3_ variables, or those of AWS, name no usable object store") from None

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        if self.size(name) is not None:
            raise Conflict(f"{name} is there already.")
        source = _Source(chunks)
        try:
            with _calls():
                obstore.put(
                    self._store,
                    name,
                    source,
                    use_multipart=True,
                    chunk_size=_PART_BYTES,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except BaseException:
            if source.error is not None:
                raise source.error from None
            raise

    def read(self, name: str) -> Iterator[bytes]:
        """Range by range: a request for all of it would have to end in time."""
        size = self.size(name)
        if size is None:
            raise NotFound(f"backup file: {name}")
        for start in range(0, size, _READ_BYTES):
            with _calls():
                part = obstore.get_range(self._store, name, start=start, end=min(start + _READ_BYTES, size))
            yield bytes(part)

    def size(self, name: str) -> int | None:
        with _calls(), suppress(FileNotFoundError):
            return int(obstore.head(self._store, name)["size"])
        return None

    def names(self, folder: str = "") -> list[str]:
        with _calls():
            found = obstore.list_with_delimiter(self._store, folder or None)["objects"]
            return sorted(str(meta["path"]) for meta in found)

    def delete(self, name: str) -> None:
        with _calls(), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def sweep(self) -> None:
        """An upload that was broken off is seen by the store alone: its lifecycle rule ends it."""


class _Source:
    """Remembers what `chunks` has raised: the library turns it into an error of its own."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.error: BaseException | None = None

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


@contextmanager
def _calls() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError):
        raise Unavailable(
            "The object store refused or did not answer: check the bucket's name, S3_ENDPOINT, S3_REGION and the keys."
        ) from None
