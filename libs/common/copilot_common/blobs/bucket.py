"""One bucket of an S3-compatible store, through `obstore`: the Rust crate object_store, on threads of its own.

The operator names the store, so the rules for addresses of tenants (`egress`) don't apply. What the library says of a
failure holds the endpoint, so none of it is passed on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from loguru import logger
from obstore.exceptions import BaseError
from obstore.store import S3Store

from copilot_common.base.errors import Unavailable

if TYPE_CHECKING:  # these exist only for type checkers
    from obstore.store import ClientConfig, RetryConfig, S3Config

_AT_ONCE = 16
"""Requests of this process: each holds a piece of 1 MB and its sealed copy."""
_CONNECT = timedelta(seconds=5)
_REQUEST = timedelta(seconds=15)  # 1 MB at 70 kB/s
_RETRIED = timedelta(seconds=20)
_CALL_SECONDS = 45.0
"""With all its tries and the wait for its turn. Far below the hour after which the objects of a blob that was deleted
while it was being written are looked for again."""


@dataclass(frozen=True, kw_only=True)
class BucketConfig:
    """`endpoint` is scheme://host[:port], None for Amazon's. Without keys, the usual AWS variables and roles count."""

    name: str
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    prefix: str = ""
    is_path_style: bool = True

    def __repr__(self) -> str:
        """Without keys."""
        return "BucketConfig(…)"


class Bucket:
    """The ObjectStore of a process."""

    def __init__(self, config: BucketConfig, *, at_once: int = _AT_ONCE, retries: int = 3) -> None:
        """Connects nothing yet. Raises ValueError where a part of `config` is not valid."""
        self._store = open_store(config, request=_REQUEST, retried=_RETRIED, retries=retries)
        self._slots = asyncio.Semaphore(at_once)

    async def put(self, key: str, data: bytes) -> None:
        async with self._call("put"):
            await obstore.put_async(self._store, key, data, use_multipart=False)

    async def get(self, key: str, *, max_bytes: int) -> bytes | None:
        async with self._call("get"):
            try:
                found = await obstore.get_async(self._store, key)
            except FileNotFoundError:
                return None
            if found.meta["size"] > max_bytes:
                return None
            return bytes(await found.bytes_async())

    async def delete(self, key: str) -> None:
        async with self._call("delete"):
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)

    @asynccontextmanager
    async def _call(self, operation: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_CALL_SECONDS), self._slots:
                yield
        except (BaseError, OSError) as error:  # TimeoutError is an OSError
            logger.bind(operation=operation, error_type=type(error).__name__).warning("Object store call failed")
            raise Unavailable("The object store did not answer; try again.") from None


def open_store(config: BucketConfig, *, request: timedelta, retried: timedelta, retries: int) -> S3Store:
    """`request` is how long one may take, `retried` all its tries. Connects nothing yet. Raises ValueError where a part
    of `config` is not valid."""
    client: ClientConfig = {
        "allow_http": (config.endpoint or "").startswith("http://"),
        "connect_timeout": _CONNECT,
        "timeout": request,
    }
    retry: RetryConfig = {
        "max_retries": retries,
        "retry_timeout": retried,
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
    }
    try:
        return S3Store(
            config.name,
            prefix=config.prefix or None,
            config=_s3_config(config),
            client_options=client,
            retry_config=retry,
        )
    except BaseError:
        raise ValueError("not a usable object store") from None


def _s3_config(config: BucketConfig) -> "S3Config":
    """What is not given is left to the library, which asks the environment."""
    made: S3Config = {
        "virtual_hosted_style_request": not config.is_path_style,
        "disable_bulk_delete": True,  # not every compatible store knows it
    }
    if config.endpoint:
        # This name for it, because the other one gives way to the environment's.
        made["aws_endpoint_url_s3"] = _endpoint(config.endpoint, config)
    if config.region:
        made["region"] = config.region
    if config.access_key_id and config.secret_access_key:
        made["access_key_id"] = config.access_key_id
        made["secret_access_key"] = config.secret_access_key
    return made


def _endpoint(endpoint: str, config: BucketConfig) -> str:
    """Where the bucket is named by the host, the library wants it there."""
    if config.is_path_style:
        return endpoint
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{config.name}.{host}"
