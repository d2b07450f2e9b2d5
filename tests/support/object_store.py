"""A real S3-compatible server for the tests: SeaweedFS, whose one binary a wheel carries. It checks signatures.

What it does not do on demand (being slow, failing, breaking off) a proxy before it does.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import obstore
from aiohttp import web
from obstore.exceptions import BaseError
from obstore.store import S3Store
from yarl import URL

from copilot_common.blobs.bucket import BucketConfig
from copilot_devstack.processes import spawn, wait_until

ACCESS_KEY = "tests-access-key"
SECRET_KEY = "tests-secret-key-nobody-may-see"
_PORTS = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
_START_SECONDS = 30.0  # three, where nothing else runs


@dataclass(frozen=True)
class ObjectServer:
    url: str

    def bucket(self) -> BucketConfig:
        """One for all tests: each has tenants of its own."""
        return BucketConfig(
            name="tests-blobs",
            endpoint=self.url,
            region="eu-test-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
        )


def raw_store(config: BucketConfig) -> S3Store:
    """To look into a bucket, and to spoil what is there, as somebody who has no key of ours."""
    return S3Store(
        config.name,
        endpoint=config.endpoint or "",
        region="eu-test-1",
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    """Call it from the main thread: the server ends with the thread that starts it."""
    folder = Path(tempfile.mkdtemp(prefix="copilot-objects-"))
    try:
        ports = _free_ports()
        process = spawn(
            _command(folder, ports),
            log=folder / "log",
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(folder)},
            on_parent_death=signal.SIGKILL,
        )
        try:
            server = ObjectServer(f"http://127.0.0.1:{ports['s3']}")
            assert wait_until(lambda: _serves(server), _START_SECONDS), (folder / "log").read_text()[-2_000:]
            yield server
        finally:
            process.send(signal.SIGKILL)  # asked politely it takes fifteen seconds
            process.wait(5)
            for name in ("s3", "master", "volume", "filer"):
                Path(f"/tmp/seaweedfs-{name}-grpc-{ports[name + '.grpc']}.sock").unlink(missing_ok=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    given = [
        f"-{name.replace('.grpc', '.port.grpc') if '.' in name else name + '.port'}={ports[name]}" for name in ports
    ]
    return [
        str(Path(sys.executable).parent / "weed"),
        "-logtostderr=true",
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-master.telemetry=false",
        "-master.electionTimeout=500ms",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=50",
        *given,
    ]


def _free_ports() -> dict[str, int]:
    """All held at once, so that they differ."""
    with ExitStack() as held:
        made = {}
        for name in _PORTS:
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            made[name] = int(listener.getsockname()[1])
        return made


def _serves(server: ObjectServer) -> bool:
    """The bucket is made when it is first written to."""
    with suppress(BaseError, OSError):
        obstore.put(raw_store(server.bucket()), "ready", b"x")
        return True
    return False


@dataclass
class FaultyProxy:
    """Passes requests on to the server, but for the faults that are waiting: each is used up by one request."""

    upstream: str
    url: str = ""
    statuses: list[int] = field(default_factory=list)
    """Answered instead."""
    cuts: list[int] = field(default_factory=list)
    """So many bytes of the answer's body, then the connection is broken."""
    lost_answers: int = 0
    """The request is carried out, and the connection broken before the answer."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, nothing is passed on until it is set again."""
    methods: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def config(self, of: BucketConfig) -> BucketConfig:
        return replace(of, endpoint=self.url)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.methods.append(request.method)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
            return await self._handle(request)
        finally:
            self.running -= 1

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()  # `read` would refuse more than 1 MB
        if self.statuses:
            text = (
                "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
            )
            return web.Response(status=self.statuses.pop(0), text=text, content_type="application/xml")
        url = URL(self.upstream + request.raw_path, encoded=True)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, headers=request.headers, data=body) as answer,
        ):
            content = await answer.read()
        if self.lost_answers:
            self.lost_answers -= 1
            return _broken(request)
        given = {k: v for k, v in answer.headers.items() if k.lower() not in {"content-length", "transfer-encoding"}}
        if not self.cuts or request.method != "GET":
            return web.Response(status=answer.status, headers=given, body=content)
        response = web.StreamResponse(status=answer.status, headers=given)
        response.content_length = len(content)
        await response.prepare(request)
        await response.write(content[: self.cuts.pop(0)])
        return _broken(request, response)


def _broken(request: web.BaseRequest, response: web.StreamResponse | None = None) -> web.StreamResponse:
    assert request.transport
    request.transport.abort() if response is None else request.transport.close()
    return response or web.Response(status=500)


@asynccontextmanager
async def faulty_proxy(upstream: str) -> AsyncIterator[FaultyProxy]:
    proxy = FaultyProxy(upstream)
    server = web.Server(proxy.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    proxy.url = f"http://{host}:{port}"
    try:
        yield proxy
    finally:
        proxy.gate.set()
        await runner.cleanup()
