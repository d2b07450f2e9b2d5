"""Where backups are kept: a directory, or a prefix in an S3-compatible bucket."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from copilot_common.base.errors import InvalidInput, SettingsError

CHUNK_BYTES = 1024 * 1024
_S3 = "s3://"
_S3_VARIABLES = ("S3_ENDPOINT", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_PATH_STYLE")


class Target(Protocol):
    """Names are `name` or `folder/name`. Every method raises Unavailable where an object store is away or refuses us,
    and OSError where a directory does."""

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """As a whole or not at all, also when `chunks` raises or this process dies. Raises Conflict where there is one
        of that name."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """A megabyte or so at a time. Raises NotFound."""
        ...

    def size(self, name: str) -> int | None:
        """In bytes; None where there is none."""
        ...

    def names(self, folder: str = "") -> list[str]:
        """Of the files right in it, sorted, with the folder before them; no unfinished ones."""
        ...

    def delete(self, name: str) -> None:
        """Where there is none, nothing happens."""
        ...

    def sweep(self) -> None:
        """Remove what a process that died has left unfinished."""
        ...


def open_target(place: str, environ: Mapping[str, str]) -> Target:
    """`s3://bucket/prefix`, with the S3_ variables of `environ`, or a directory that is there. Raises InvalidInput,
    SettingsError."""
    if place.startswith(_S3):
        return _open_bucket(place, environ)
    from copilot_cli.backups.directory import DirectoryTarget

    path = Path(place)
    if not path.is_dir():
        raise InvalidInput({place: "is no directory: make it, or mount what should be there"})
    return DirectoryTarget(path)


def _open_bucket(place: str, environ: Mapping[str, str]) -> Target:
    from copilot_common.platform.settings import load_settings

    bucket, _, prefix = place.removeprefix(_S3).partition("/")
    if not bucket:
        raise SettingsError(f"{place} names no bucket: s3://bucket/prefix")
    stand_ins = {
        "DATABASE_URL": "postgres://-",
        "REDIS_URL": "redis://-",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "ENCRYPTION_KEY": secrets.token_hex(32),
    }
    given = {name: environ[name] for name in _S3_VARIABLES if name in environ}
    settings = load_settings({**stand_ins, **given, "S3_BUCKET": bucket, "S3_PREFIX": prefix.strip("/")})
    try:
        from copilot_cli.backups.bucket import BucketTarget
        from copilot_common.blobs.bucket import BucketConfig
    except ImportError:
        raise SettingsError("s3:// needs the extra copilot-common[s3], which is not installed") from None
    return BucketTarget(
        BucketConfig(
            name=bucket,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key_id=settings.s3_access_key_id,
            secret_access_key=settings.s3_secret_access_key,
            prefix=settings.s3_prefix,
            is_path_style=settings.is_s3_path_style,
        )
    )
