"""The guard on real sockets: what is connected to, what is followed, what is cut.

Names lead where the test's own look-up says. 127.0.0.1 is exempt, so it stands for the public; 127.0.0.2 is not, so it
stands for the inside.
"""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import AF_INET, SOCK_STREAM, gaierror

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from copilot_common.base.errors import EgressFailed, EgressRefused
from copilot_common.platform.egress.client import Egress, EgressResponse
from copilot_common.platform.egress.exemptions import parse_exemptions
from copilot_common.platform.egress.pinning import Pin
from copilot_common.platform.egress.rules import EgressRules
from support.receiver import Received, Receiver, answer, receiver, redirect

OUTSIDE = "127.0.0.1"
INSIDE = "127.0.0.2"
NAME = "hooks.example.com"


class Dns:
    """Each look-up of a name takes its next answer; the last one stays."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): found for name, found in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        found = self.answers.get(name.removesuffix("."))
        if found is None:
            raise gaierror(-2, "Name or service not known")
        return found.pop(0) if len(found) > 1 else found[0]


def dns(*answers: list[str]) -> Dns:
    return Dns(hooks_example_com=list(answers))


@asynccontextmanager
async def egress(
    *servers: Receiver, lookup: Dns | None = None, tls: ssl.SSLContext | None = None, max_connections: int = 64
) -> AsyncIterator[Egress]:
    rules = EgressRules(parse_exemptions(OUTSIDE), frozenset(server.port for server in servers))
    made = Egress(rules, lookup=lookup or dns([OUTSIDE]), tls=tls, max_connections=max_connections)
    yield made
    await made.aclose()


async def refusal(call: Awaitable[EgressResponse]) -> str:
    with pytest.raises(EgressRefused) as refused:
        await call
    assert INSIDE not in f"{refused.value.message}{refused.value.details}"
    return refused.value.rule


async def failure(call: Awaitable[EgressResponse]) -> str:
    with pytest.raises(EgressFailed) as failed:
        await call
    assert OUTSIDE not in f"{failed.value.message}{failed.value.details}"
    return failed.value.failure


async def hang(_: Received, writer: asyncio.StreamWriter) -> None:
    """Begin an answer and never end it."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")


async def cut(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def flood(_: Received, writer: asyncio.StreamWriter) -> None:
    """A body without an end, until the client leaves."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def test_a_request_arrives_as_the_caller_made_it_and_its_answer_comes_back() -> None:
    async with (
        receiver(answer(b"taken", status="202 Accepted", headers=("X-Seen: yes",))) as server,
        egress() as client,
    ):
        response = await client.request(
            "POST", f"http://{OUTSIDE}:{server.port}/in%2F?a=%26", headers={"X-Signature": "s"}, content=b'{"a": 1}'
        )
    assert (response.status, response.headers["x-seen"], response.content) == (202, "yes", b"taken")
    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/in%2F?a=%26", b'{"a": 1}')
    assert request.headers["x-signature"] == "s"
    assert "cookie" not in request.headers
    assert "aiohttp" not in str(request.headers)


async def test_a_name_that_leads_inside_is_refused_before_any_connection() -> None:
    async with receiver(answer(), host=INSIDE) as inside, egress(inside, lookup=dns([INSIDE])) as client:
        assert await refusal(client.request("GET", f"http://{NAME}:{inside.port}/")) == "address"
    assert inside.connections == 0


async def test_one_address_inside_among_those_of_a_name_refuses_all() -> None:
    async with receiver(answer()) as server, egress(server, lookup=dns([OUTSIDE, INSIDE])) as client:
        assert await refusal(client.request("GET", f"http://{NAME}:{server.port}/")) == "address"
    assert server.connections == 0


async def test_a_literal_address_inside_is_refused_though_no_name_is_looked_up() -> None:
    lookup = dns([OUTSIDE])
    async with receiver(answer(), host=INSIDE) as inside, egress(inside, lookup=lookup) as client:
        for host in (INSIDE, f"[::ffff:{INSIDE}]"):
            assert await refusal(client.request("GET", f"http://{host}:{inside.port}/")) == "address"
    assert (inside.connections, lookup.asked) == (0, [])


async def test_a_name_that_answers_differently_the_second_time_is_asked_once_per_connection() -> None:
    lookup = dns([OUTSIDE], [INSIDE])
    async with (
        receiver(answer()) as outside,
        receiver(answer(), host=INSIDE, port=outside.port) as inside,
        egress(outside, lookup=lookup) as client,
    ):
        response = await client.request("GET", f"http://{NAME}:{outside.port}/")
    assert (response.status, lookup.asked) == (200, [f"{NAME}."])
    assert (outside.connections, inside.connections) == (1, 0)
    assert outside.requests[0].headers["host"] == f"{NAME}:{outside.port}"


async def test_a_connection_is_not_reused_when_its_name_has_moved_inside() -> None:
    lookup = dns([OUTSIDE], [INSIDE])
    async with receiver(answer()) as server, egress(server, lookup=lookup) as client:
        url = f"http://{NAME}:{server.port}/"
        assert (await client.request("GET", url)).status == 200
        assert await refusal(client.request("GET", url)) == "address"
    assert len(server.requests) == 1


async def test_a_socket_opens_to_a_checked_address_only() -> None:
    rules = EgressRules(parse_exemptions(OUTSIDE))
    pin = Pin(rules.admit("http://example.com/"), rules, Dns(example_com=[[OUTSIDE]]))
    with pytest.raises(PermissionError):
        pin.open_socket((AF_INET, SOCK_STREAM, 0, "", (OUTSIDE, 80)))
    await pin.resolve("example.com", 80)
    pin.open_socket((AF_INET, SOCK_STREAM, 0, "", (OUTSIDE, 80))).close()
    with pytest.raises(PermissionError):
        pin.open_socket((AF_INET, SOCK_STREAM, 0, "", (INSIDE, 80)))


async def test_an_admitted_address_is_reached_in_its_ipv6_spelling_too() -> None:
    async with receiver(answer()) as server, egress() as client:
        assert (await client.request("GET", f"http://[::ffff:{OUTSIDE}]:{server.port}/")).status == 200


async def test_an_exempt_name_may_lead_inside_and_is_looked_up_as_written() -> None:
    lookup = Dns(redis=[[INSIDE]])
    async with receiver(answer(), host=INSIDE) as inside:
        client = Egress(EgressRules(parse_exemptions("redis")), lookup=lookup)
        assert (await client.request("GET", f"http://redis:{inside.port}/")).status == 200
    assert lookup.asked == ["redis"]


async def test_without_a_look_up_of_ones_own_the_systems_resolver_answers() -> None:
    client = Egress(EgressRules(parse_exemptions("localhost")))
    async with receiver(answer()) as server:
        assert (await client.request("GET", f"http://localhost:{server.port}/")).status == 200
    await client.aclose()


async def test_a_redirect_is_handed_back_not_followed() -> None:
    async with receiver(redirect("/next")) as server, egress() as client:
        response = await client.request("GET", f"http://{OUTSIDE}:{server.port}/")
    assert (response.status, response.headers["Location"], len(server.requests)) == (302, "/next", 1)


async def test_no_more_redirects_are_followed_than_the_caller_allows() -> None:
    async with receiver(redirect("/1"), redirect("/2"), redirect("/3")) as server, egress() as client:
        response = await client.request("GET", f"http://{OUTSIDE}:{server.port}/0", redirects=2)
    assert (response.status, response.url) == (302, f"http://{OUTSIDE}:{server.port}/2")
    assert [request.path for request in server.requests] == ["/0", "/1", "/2"]


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("http://127.0.0.2/", "address"),
        ("//127.0.0.2/", "address"),
        ("http://169.254.169.254/latest/", "address"),
        ("http://[::1]/", "address"),
        ("http://2130706433/", "host"),
        ("http://localhost/", "host"),
        ("http://inside.example.com:8080/", "port"),
        ("file:///etc/passwd", "scheme"),
        ("http://u:p@example.com/", "userinfo"),
    ],
)
async def test_a_redirect_to_where_no_url_may_lead_is_refused(location: str, rule: str) -> None:
    async with receiver(redirect(location)) as server:
        client = Egress(EgressRules(parse_exemptions(OUTSIDE), frozenset({80})), lookup=dns([OUTSIDE]))
        assert await refusal(client.request("GET", f"http://{OUTSIDE}:{server.port}/", redirects=3)) == rule


async def test_a_redirect_to_a_name_that_leads_inside_is_refused() -> None:
    async with (
        receiver(answer(), host=INSIDE) as inside,
        receiver(redirect(f"http://{NAME}:{inside.port}/")) as outside,
        egress(inside, lookup=dns([INSIDE])) as client,
    ):
        assert await refusal(client.request("GET", f"http://{OUTSIDE}:{outside.port}/", redirects=1)) == "address"
    assert inside.connections == 0


async def test_headers_that_may_carry_a_secret_stay_within_their_origin() -> None:
    secret = {"Authorization": "Bearer s", "X-Api-Key": "s", "Cookie": "c=s", "Accept": "text/plain"}
    async with (
        receiver(answer()) as other,
        receiver(redirect("/here"), redirect(f"http://{NAME}:{other.port}/")) as first,
        egress(other) as client,
    ):
        await client.request("GET", f"http://{OUTSIDE}:{first.port}/", headers=secret, redirects=2)
    assert first.requests[1].headers["authorization"] == "Bearer s"
    assert other.requests[0].headers["accept"] == "text/plain"
    assert not {"authorization", "x-api-key", "cookie"} & set(other.requests[0].headers)


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        ("301 Moved", "GET", b""),
        ("302 Found", "GET", b""),
        ("303 See Other", "GET", b""),
        ("307 Temporary", "POST", b"b"),
    ],
)
async def test_a_post_is_redirected_as_browsers_do_it(status: str, method: str, body: bytes) -> None:
    async with receiver(redirect("/next", status), answer()) as server, egress() as client:
        url = f"http://{OUTSIDE}:{server.port}/"
        await client.request("POST", url, headers={"Content-Type": "text/plain"}, content=b"b", redirects=1)
    followed = server.requests[1]
    assert (followed.method, followed.body) == (method, body)
    assert ("content-type" in followed.headers) == bool(body)


async def test_cookies_do_not_come_back() -> None:
    async with receiver(answer(headers=("Set-Cookie: a=b; Path=/",))) as server, egress() as client:
        for _ in range(2):
            await client.request("GET", f"http://{OUTSIDE}:{server.port}/")
    assert "cookie" not in server.requests[1].headers


async def test_proxies_and_credentials_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text(f"machine {OUTSIDE} login u password p\n")
    async with receiver(answer()) as proxy, receiver(answer()) as server, egress() as client:
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{OUTSIDE}:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        await client.request("GET", f"http://{OUTSIDE}:{server.port}/")
    assert (proxy.connections, len(server.requests)) == (0, 1)
    assert "authorization" not in server.requests[0].headers


async def test_a_body_of_exactly_the_cap_passes_and_one_byte_more_does_not() -> None:
    async with receiver(answer(b"x" * 1000), answer(b"x" * 1001)) as server, egress() as client:
        url = f"http://{OUTSIDE}:{server.port}/"
        assert len((await client.request("GET", url, max_bytes=1000)).content) == 1000
        assert await failure(client.request("GET", url, max_bytes=1000)) == "too_large"


async def test_a_body_without_an_end_is_cut() -> None:
    async with receiver(flood) as server, egress() as client:
        assert await failure(client.request("GET", f"http://{OUTSIDE}:{server.port}/")) == "too_large"


async def test_a_body_that_nobody_asks_for_is_not_read() -> None:
    async with receiver(flood, hang) as server, egress() as client:
        for _ in range(2):
            answered = await client.request("GET", f"http://{OUTSIDE}:{server.port}/", max_bytes=0)
            assert (answered.status, answered.content) == (200, b"")


async def test_a_small_body_that_unpacks_to_a_large_one_is_cut() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with receiver(answer(bomb, headers=("Content-Encoding: gzip",))) as server, egress() as client:
        assert await failure(client.request("GET", f"http://{OUTSIDE}:{server.port}/")) == "too_large"


@pytest.mark.parametrize(
    "headers", [("X: " + "x" * 9_000,), tuple(f"X-{n}: x" for n in range(200))], ids=["long line", "many lines"]
)
async def test_headers_beyond_their_bounds_end_the_call(headers: tuple[str, ...]) -> None:
    async with receiver(answer(headers=headers)) as server, egress() as client:
        assert await failure(client.request("GET", f"http://{OUTSIDE}:{server.port}/")) == "protocol"


async def test_an_answer_that_never_ends_is_given_up() -> None:
    async with receiver(hang) as server, egress() as client:
        call = client.request("GET", f"http://{OUTSIDE}:{server.port}/", timeout_seconds=0.2)
        assert await failure(call) == "timeout"


async def test_a_name_server_that_never_answers_is_given_up() -> None:
    async def silence(_: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    client = Egress(EgressRules(), lookup=silence, connect_seconds=0.2)
    assert await failure(client.request("GET", f"http://{NAME}/")) == "timeout"


async def test_waiting_for_a_free_connection_counts_as_time() -> None:
    arrived = asyncio.Event()

    async def hold(request: Received, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await hang(request, writer)

    async with receiver(hold) as server, egress(max_connections=1) as client:
        url = f"http://{OUTSIDE}:{server.port}/"
        first = asyncio.create_task(client.request("GET", url))
        await arrived.wait()
        assert await failure(client.request("GET", url, timeout_seconds=0.2)) == "timeout"
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await failure(client.request("GET", url, timeout_seconds=0.2)) == "timeout"
    assert server.connections == 2  # the first, and the last after the first had left its place


async def test_a_broken_connection_is_not_tried_again_unasked() -> None:
    async with receiver(cut) as server, egress() as client:
        assert await failure(client.request("GET", f"http://{OUTSIDE}:{server.port}/")) == "disconnected"
    assert server.connections == 1


async def test_what_cannot_be_reached_says_how() -> None:
    async with receiver(answer()) as gone:
        pass
    async with egress(gone, lookup=Dns()) as client:
        assert await failure(client.request("GET", f"http://{OUTSIDE}:{gone.port}/")) == "connect"
        assert await failure(client.request("GET", f"http://{NAME}:{gone.port}/")) == "dns"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "inside"},
        {"Transfer-Encoding": "chunked"},
        {"Proxy-Authorization": "x"},
        {"X": "a\r\nHost: b"},
        {"a b": "c"},
    ],
)
async def test_headers_that_reframe_or_redirect_a_request_are_refused(headers: dict[str, str]) -> None:
    async with egress() as client:
        assert await refusal(client.request("GET", f"http://{OUTSIDE}/", headers=headers)) == "header"


async def test_a_method_of_no_web_server_is_refused() -> None:
    async with egress() as client:
        assert await refusal(client.request("CONNECT", f"http://{OUTSIDE}/")) == "method"


async def test_a_stream_is_read_as_it_comes() -> None:
    heard = asyncio.Event()

    async def speak(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        await heard.wait()
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")

    async with (
        receiver(speak) as server,
        egress() as client,
        client.stream("POST", f"http://{OUTSIDE}:{server.port}/", content=b"x") as answered,
    ):
        assert (answered.status, await anext(answered.pieces)) == (200, b"first")
        heard.set()
        assert [piece async for piece in answered.pieces] == [b"last"]
    assert (server.requests[0].method, server.requests[0].body) == ("POST", b"x")


async def test_a_stream_is_bounded_in_size_and_in_time() -> None:
    async with receiver(flood, hang) as server, egress() as client:
        url = f"http://{OUTSIDE}:{server.port}/"
        async with client.stream("GET", url, max_bytes=100_000) as answer:
            with pytest.raises(EgressFailed) as failed:
                _ = [piece async for piece in answer.pieces]
        assert failed.value.failure == "too_large"
        async with client.stream("GET", url, timeout_seconds=0.2) as answer:
            with pytest.raises(EgressFailed) as failed:
                _ = [piece async for piece in answer.pieces]
        assert failed.value.failure == "timeout"


async def test_a_stream_goes_no_further_than_a_request() -> None:
    async with (
        receiver(redirect("/next")) as outside,
        receiver(answer(), host=INSIDE) as inside,
        egress(inside, lookup=dns([INSIDE])) as client,
    ):
        for host in (NAME, INSIDE):
            opened = client.stream("GET", f"http://{host}:{inside.port}/")
            with pytest.raises(EgressRefused) as refused:
                await opened.__aenter__()
            assert refused.value.rule == "address"
        async with client.stream("GET", f"http://{OUTSIDE}:{outside.port}/") as answered:
            assert answered.status == 302
    assert (inside.connections, len(outside.requests)) == (0, 1)


async def test_a_stream_follows_as_many_redirects_as_the_caller_allows() -> None:
    async with receiver(redirect("/1"), redirect("/2"), answer(b"there")) as server, egress() as client:
        url = f"http://{OUTSIDE}:{server.port}/0"
        async with client.stream("GET", url, redirects=2) as answered:
            assert (answered.status, [piece async for piece in answered.pieces]) == (200, [b"there"])
    assert [request.path for request in server.requests] == ["/0", "/1", "/2"]
    async with (
        receiver(redirect("/1"), redirect("/2"), redirect("/3")) as server,
        egress() as client,
        client.stream("GET", f"http://{OUTSIDE}:{server.port}/0", redirects=2) as answered,
    ):
        assert (answered.status, answered.headers["Location"]) == (302, "/3")
    assert len(server.requests) == 3


@pytest.mark.parametrize("target", ["http://127.0.0.2/", "http://169.254.169.254/latest/", "http://[::1]/"])
async def test_a_stream_is_not_redirected_inside_and_gives_its_place_back(target: str) -> None:
    client = Egress(EgressRules(parse_exemptions(OUTSIDE)), max_connections=1)
    async with receiver(redirect("/1"), redirect(target), answer()) as server:
        url = f"http://{OUTSIDE}:{server.port}/"
        with pytest.raises(EgressRefused) as refused:
            await client.stream("GET", url, redirects=5).__aenter__()
        assert refused.value.rule == "address"
        assert (await client.request("GET", url, timeout_seconds=5)).status == 200


async def test_a_stream_is_not_redirected_to_a_name_that_leads_inside() -> None:
    async with (
        receiver(answer(), host=INSIDE) as inside,
        receiver(redirect(f"http://{NAME}:{inside.port}/")) as outside,
        egress(inside, lookup=dns([INSIDE])) as client,
    ):
        with pytest.raises(EgressRefused) as refused:
            await client.stream("GET", f"http://{OUTSIDE}:{outside.port}/", redirects=1).__aenter__()
        assert refused.value.rule == "address"
    assert inside.connections == 0


async def test_the_connections_of_hops_that_a_stream_has_passed_are_closed() -> None:
    """Though their bodies never end; the deadline holds for all hops together."""
    left = asyncio.Event()

    async def endless_redirect(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            left.set()
            raise

    async with receiver(endless_redirect, flood, hang) as server, egress(max_connections=1) as client:
        url = f"http://{OUTSIDE}:{server.port}/"
        async with client.stream("GET", url, redirects=1) as answered:
            await anext(answered.pieces)
            await asyncio.wait_for(left.wait(), 5)
    assert server.connections == 2


async def test_the_time_of_a_stream_is_for_all_its_hops() -> None:
    async def silence(*_: object) -> None:
        await asyncio.Event().wait()

    async with receiver(redirect("/1"), redirect("/2"), silence) as server, egress(max_connections=1) as client:
        url = f"http://{OUTSIDE}:{server.port}/"
        with pytest.raises(EgressFailed) as failed:
            await client.stream("GET", url, timeout_seconds=0.3, redirects=5).__aenter__()
        assert failed.value.failure == "timeout"
    assert len(server.requests) == 3


async def test_a_stream_that_is_left_gives_its_connection_back() -> None:
    async with receiver(flood) as server, egress(max_connections=1) as client:
        url = f"http://{OUTSIDE}:{server.port}/"

        async def leave() -> None:
            async with client.stream("GET", url, timeout_seconds=2) as answered:
                await anext(answered.pieces)
                raise ValueError("of the block")

        for _ in range(2):
            with pytest.raises(ValueError, match="of the block"):
                await leave()
    assert server.connections == 2


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def server_tls(path: Path, seen: list[str | None]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)

    def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        seen.append(name)

    context.sni_callback = note
    return context


async def test_tls_and_the_host_header_keep_the_name_when_the_address_is_pinned(tmp_path: Path) -> None:
    path, seen = certificate(tmp_path, NAME), list[str | None]()
    trust = ssl.create_default_context(cafile=path)
    async with receiver(answer(), tls=server_tls(path, seen)) as server, egress(server, tls=trust) as client:
        response = await client.request("GET", f"https://{NAME}.:{server.port}/")
    assert (response.status, seen) == (200, [NAME])
    assert server.requests[0].headers["host"] == f"{NAME}:{server.port}"


async def test_a_certificate_of_another_name_is_not_accepted(tmp_path: Path) -> None:
    path = certificate(tmp_path, "other.example.com")
    trust = ssl.create_default_context(cafile=path)
    async with receiver(answer(), tls=server_tls(path, [])) as server, egress(server, tls=trust) as client:
        assert await failure(client.request("GET", f"https://{NAME}:{server.port}/")) == "tls"
    assert server.requests == []


async def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path) -> None:
    path = certificate(tmp_path, NAME)
    trust = ssl.create_default_context(cafile=path)
    async with receiver(answer()) as plain:
        to_plain = redirect(f"http://{NAME}:{plain.port}/")
        async with receiver(to_plain, tls=server_tls(path, [])) as server, egress(server, plain, tls=trust) as client:
            call = client.request("GET", f"https://{NAME}:{server.port}/", redirects=1)
            assert await refusal(call) == "scheme"
    assert plain.connections == 0
