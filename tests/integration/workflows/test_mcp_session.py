"""Sessions with MCP servers: real ones by the official library, and bad ones, byte for byte.

127.0.0.1 is exempt, so it stands for the public; 127.0.0.2 is not, so it stands for the inside.
"""

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, cast

import httpx
import pytest

from copilot_common.base.errors import EgressFailed, EgressRefused
from copilot_common.platform.egress.client import Egress
from copilot_common.platform.egress.exemptions import parse_exemptions
from copilot_common.platform.egress.rules import EgressRules
from copilot_domain.workflows.execution.mcp.failures import ServerRefused, ServerReported
from copilot_domain.workflows.execution.mcp.results import ToolResult
from copilot_domain.workflows.execution.mcp.session import McpSession
from copilot_domain.workflows.mcp_servers.types import McpEndpoint
from support.clients import eventually
from support.mcp_server import ACCEPTED, WELCOME, event, mcp_server, result, says, streams
from support.receiver import Answer, Received, answer, hang, receiver, redirect

OUTSIDE = "127.0.0.1"
INSIDE = "127.0.0.2"
TEXT = result({"content": [{"type": "text", "text": "fine"}]})


@asynccontextmanager
async def egress(**more: Any) -> AsyncIterator[Egress]:
    made = Egress(EgressRules(parse_exemptions(OUTSIDE), more.pop("ports", frozenset({80}))), **more)
    yield made
    await made.aclose()


async def call(
    url: str,
    tool: str = "x",
    *,
    seconds: float = 10.0,
    headers: dict[str, str] | None = None,
    outgoing: Egress | None = None,
    **arguments: object,
) -> ToolResult:
    async with egress() as own:
        endpoint = McpEndpoint(url, headers or {})
        session = McpSession(outgoing or own, endpoint, seconds=seconds, idempotency_key="the key")
        async with session:
            return await session.call(tool, arguments)


@asynccontextmanager
async def server(*answers: Answer, host: str = OUTSIDE) -> AsyncIterator[Any]:
    async with receiver(*answers, host=host) as made:
        yield made


def url_of(made: Any) -> str:
    return f"http://{OUTSIDE}:{made.port}/mcp"


MODES: list[dict[str, bool]] = [{}, {"json_response": True}, {"stateless_http": True}]


@pytest.mark.parametrize("mode", MODES, ids=["events", "json", "stateless"])
async def test_a_tool_of_a_real_server_is_called(mode: dict[str, bool]) -> None:
    async with mcp_server(**mode) as made:
        summed = await call(made.url, "add", a=2, b=3)
        greeted = await call(made.url, "greet", name="Ada")
    assert summed.structured_content == {"sum": 5}
    assert [block["type"] for block in greeted.content] == ["text", "image", "text"]
    assert (greeted.structured_content, greeted.is_error) == (None, False)


async def test_headers_go_with_every_request_and_the_key_with_the_call() -> None:
    async with server(WELCOME, ACCEPTED, says(TEXT)) as made:
        await call(url_of(made), headers={"Authorization": "Bearer s"})
    assert [request.headers["authorization"] for request in made.requests] == ["Bearer s"] * 3
    assert [request.headers.get("idempotency-key") for request in made.requests] == [None, None, "the key"]
    assert json.loads(made.requests[0].body)["params"]["capabilities"] == {}, "nothing is offered"


async def test_what_the_protocol_sets_wins_over_what_was_registered() -> None:
    async with server(WELCOME, ACCEPTED, says(TEXT)) as made:
        await call(url_of(made), headers={"accept": "text/html"})
    assert made.requests[0].headers["accept"] == "application/json, text/event-stream"


async def test_the_session_is_closed_and_nothing_is_listened_to_unasked() -> None:
    welcome = says(json.loads(await body_of(WELCOME)), headers=("Mcp-Session-Id: s1",))
    async with server(welcome, ACCEPTED, says(TEXT), answer()) as made:
        await call(url_of(made))
    assert [request.method for request in made.requests] == ["POST", "POST", "POST", "DELETE"]
    assert made.requests[3].headers["mcp-session-id"] == "s1"
    assert made.requests[2].headers["mcp-protocol-version"] == "2025-06-18"


async def body_of(given: Answer) -> bytes:
    class Writer:
        written = b""

        def write(self, data: bytes) -> None:
            self.written += data

    writer = Writer()
    await given(Received("", "", {}, b""), cast(asyncio.StreamWriter, writer))
    return writer.written.partition(b"\r\n\r\n")[2]


async def test_the_servers_list_of_tools_is_not_read() -> None:
    async with server(WELCOME, ACCEPTED, says(result({"content": [], "structuredContent": {"a": 1}}))) as made:
        assert (await call(url_of(made))).structured_content == {"a": 1}
    methods = [json.loads(request.body)["method"] for request in made.requests]
    assert methods == ["initialize", "notifications/initialized", "tools/call"]


async def test_a_failure_that_a_tool_reports_is_told() -> None:
    async with mcp_server() as made:
        assert (await call(made.url, "fail")).is_error


async def test_a_question_of_the_server_is_refused() -> None:
    async with mcp_server() as made:
        refused = await call(made.url, "sample")
    assert refused.content[0]["text"] == "Refused: McpError"


@pytest.mark.parametrize("status", [307, 308, 301])
async def test_no_redirect_is_followed(status: int) -> None:
    async with receiver(answer(), host=INSIDE) as inside:
        for to in (f"http://{INSIDE}:{inside.port}/", "http://169.254.169.254/latest/", "/mcp/"):
            async with server(redirect(to, f"{status} Moved")) as made:
                with pytest.raises(ServerRefused) as refused:
                    await call(url_of(made))
            assert (refused.value.status, len(made.requests)) == (status, 1)
    assert inside.connections == 0


async def test_a_server_inside_is_not_reached_by_any_name() -> None:
    async def lookup(name: str) -> list[str]:
        return [INSIDE]

    async with (
        receiver(WELCOME, host=INSIDE) as inside,
        egress(lookup=lookup, ports=frozenset({inside.port})) as outgoing,
    ):
        for host in (INSIDE, "mcp.example.com"):
            with pytest.raises(EgressRefused):
                await call(f"http://{host}:{inside.port}/", outgoing=outgoing)
    assert inside.connections == 0


async def test_a_name_that_moves_inside_within_a_session_is_refused_and_nothing_was_called() -> None:
    answers = [[OUTSIDE], [OUTSIDE], [INSIDE]]

    async def lookup(name: str) -> list[str]:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async with (
        server(WELCOME, ACCEPTED, says(TEXT)) as made,
        receiver(answer(), host=INSIDE, port=made.port) as inside,
        egress(lookup=lookup, ports=frozenset({made.port})) as outgoing,
    ):
        endpoint = McpEndpoint(f"http://mcp.example.com:{made.port}/", {})
        async with McpSession(outgoing, endpoint, seconds=10, idempotency_key="k") as session:
            with pytest.raises(EgressRefused):
                await session.call("x", {})
    assert (inside.connections, session.has_called) == (0, False)


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(answer()) as proxy, server(WELCOME, ACCEPTED, says(TEXT)) as made:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{OUTSIDE}:{proxy.port}")
        await call(url_of(made))
    assert proxy.connections == 0


async def flood(_: Received, writer: asyncio.StreamWriter) -> None:
    """Events without an end, until the client leaves."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    notice = event(
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 999}}
    )
    while True:
        writer.write(notice * 50)
        await writer.drain()


def many(piece: bytes, count: int) -> Answer:
    return says(b'{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"a":[' + piece * count + b"0]}}}")


BAD_ANSWERS: dict[str, tuple[Answer, str]] = {
    "events without an end": (flood, "too_large"),
    "five megabytes of text": (says(result({"content": [{"type": "text", "text": "x" * 5_000_000}]})), "too_large"),
    "a line without an end": (streams(b"data: " + b"x" * 5_000_000), "too_large"),
    "a million brackets": (many(b"[],", 1_000_000), "too_large"),
    "as many in a stream": (streams(b"data: [" + b"[]," * 1_000_000), "too_large"),
    "a million empty events": (streams(b"event: x\n\n" * 400_000), "too_large"),
    "no JSON": (says(b"<html>"), "protocol"),
    "half a message": (says(b'{"jsonrpc": "2.0", "id": 1, '), "protocol"),
    "another format": (answer(b"hello", headers=("Content-Type: text/plain",)), "protocol"),
    "accepted, and no more": (ACCEPTED, "protocol"),
    "no result of a tool": (says(result({"content": 5})), "protocol"),
    "blocks that are none": (says(result({"content": [{}]})), "protocol"),
    "a text without one": (says(result({"content": [{"type": "text"}]})), "protocol"),
    "a result without content": (says(result({"structuredContent": {"a": 1}})), "protocol"),
    "a deep result": (many(b"[" * 5_000, 1), "protocol"),
    "an answer to another question": (says(result({"content": []}, 77)), "protocol"),
    "an answer to a question in words": (says(result({"content": []}) | {"id": "zebra"}), "protocol"),
    "a stream without an answer": (streams(b": ping\n\n"), "disconnected"),
    "one that promises more": (streams(b"id: 1\nretry: 0\ndata: \n\n"), "disconnected"),
    "events that are none": (streams(b"data: {\n\n", ends=False), "protocol"),
    "questions without an end": (
        streams(*[event({"jsonrpc": "2.0", "id": n, "method": "sampling/createMessage"}) for n in range(99)]),
        "protocol",
    ),
}


@pytest.mark.parametrize(("bad", "failure"), BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_a_bad_answer_ends_the_session_at_once(bad: Answer, failure: str) -> None:
    began = monotonic()
    async with server(WELCOME, ACCEPTED, bad, ACCEPTED) as made:
        with pytest.raises(EgressFailed) as failed:
            await call(url_of(made), seconds=60)
    assert failed.value.failure == failure
    assert monotonic() - began < 10
    assert OUTSIDE not in failed.value.message


@pytest.mark.parametrize("bad", [answer(status="500 Oops"), ACCEPTED, says({"jsonrpc": "2.0"}), streams()])
async def test_nothing_is_called_where_the_server_cannot_even_begin(bad: Answer) -> None:
    async with egress() as outgoing, server(bad) as made:
        session = McpSession(outgoing, McpEndpoint(url_of(made), {}), seconds=10, idempotency_key="k")
        with pytest.raises((EgressFailed, ServerRefused)):
            await session.__aenter__()
    assert (len(made.requests), session.has_called) == (1, False)


@pytest.mark.parametrize("charset", ["utf-16", "cp037"])
async def test_a_servers_charset_is_not_used(charset: str) -> None:
    """Under it quotation marks and brackets could be other bytes than those that are counted."""
    foreign = f"data: {json.dumps(TEXT)}\n\n".encode(charset)
    stream = answer(foreign, headers=(f"Content-Type: text/event-stream; charset={charset}",))
    async with server(WELCOME, ACCEPTED, stream) as made:
        with pytest.raises(EgressFailed):
            await call(url_of(made), seconds=5)


async def test_a_version_that_nobody_knows_is_no_mcp() -> None:
    welcome = result({"protocolVersion": "9", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}, 0)
    async with server(says(welcome)) as made:
        with pytest.raises(EgressFailed):
            await call(url_of(made))


async def test_an_error_of_the_protocol_is_told_by_its_number() -> None:
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "zebra"}}
    async with server(WELCOME, ACCEPTED, says(error)) as made:
        with pytest.raises(ServerReported) as reported:
            await call(url_of(made))
    assert (reported.value.code, str(reported.value)) == (-32602, "-32602")


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "503 Unavailable"])
async def test_a_status_is_told(status: str) -> None:
    for answers in ([answer(status=status)], [WELCOME, ACCEPTED, answer(status=status)]):
        async with server(*answers) as made:
            with pytest.raises(ServerRefused) as refused:
                await call(url_of(made))
        assert refused.value.status == int(status[:3])


async def test_a_broken_connection_is_not_tried_again() -> None:
    async def cut(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with server(WELCOME, ACCEPTED, cut) as made:
        with pytest.raises(EgressFailed) as failed:
            await call(url_of(made))
    assert (failed.value.failure, len(made.requests)) == ("disconnected", 3)


@pytest.mark.parametrize("slow", [hang, streams(b": ping\n\n", ends=False)], ids=["silent", "pinging"])
@pytest.mark.parametrize("first", [0, 1, 2])
async def test_a_server_that_never_answers_has_its_time_and_no_more(slow: Answer, first: int) -> None:
    began = monotonic()
    async with server(*[WELCOME, ACCEPTED][:first], slow) as made:
        with pytest.raises(EgressFailed) as failed:
            await call(url_of(made), seconds=0.5)
    assert failed.value.failure == "timeout"
    assert monotonic() - began < 3


async def test_a_server_that_does_not_let_go_holds_nobody_up() -> None:
    welcome = says(json.loads(await body_of(WELCOME)), headers=("Mcp-Session-Id: s1",))
    async with server(welcome, ACCEPTED, says(TEXT), hang) as made:
        began = monotonic()
        await call(url_of(made))
    assert monotonic() - began < 4


async def test_a_call_that_is_cancelled_ends_soon_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with mcp_server() as made:
        calling = asyncio.create_task(call(made.url, "sleep", duration=30))

        async def has_called() -> bool:
            return made.called == ["sleep"]

        await eventually(has_called, what="the call")
        began = monotonic()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert monotonic() - began < 2.5
    assert asyncio.all_tasks() == before


async def test_what_a_tool_gives_is_kept_as_it_came() -> None:
    resource = {"type": "resource", "resource": {"uri": "HTTP://Example.COM", "text": "x", "_meta": None}, "size": None}
    content = [resource, {"type": "of tomorrow", "deep": [None, {"a": None}]}]
    async with server(WELCOME, ACCEPTED, says(result({"content": content, "structuredContent": None}))) as made:
        given = await call(url_of(made))
    assert (given.content, given.structured_content) == (content, None)


async def test_an_answer_whose_number_is_a_text_is_taken() -> None:
    async with server(WELCOME, ACCEPTED, says(TEXT | {"id": "1"})) as made:
        assert (await call(url_of(made))).content


MANY_ZEROS = b",".join([b"0"] * 98_000)
"""As many values as a session may hear, less what frames them."""
MANY_FAULTS: dict[str, Answer] = {
    "blocks": says(b'{"jsonrpc":"2.0","id":1,"result":{"content":[' + MANY_ZEROS + b"]}}"),
    "a question": streams(
        b'data: {"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{"messages":['
        + MANY_ZEROS
        + b"]}}\n\n",
        event(result({"content": 5})),
    ),
}


@pytest.mark.parametrize("answered", MANY_FAULTS.values(), ids=MANY_FAULTS.keys())
async def test_what_is_wrong_with_each_value_is_not_listed(
    answered: Answer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The list of the library's types took 200 MB, where 12 are enough, and of a question it was logged."""
    with caplog.at_level(logging.WARNING):
        async with server(WELCOME, ACCEPTED, answered, ACCEPTED) as made:
            before = high_water_kilobytes(anew=True)
            with pytest.raises(EgressFailed, match="not valid MCP"):
                await call(url_of(made))
    assert high_water_kilobytes() - before < 60_000
    assert "validation error" not in caplog.text


def high_water_kilobytes(*, anew: bool = False) -> int:
    """The most memory that this process had, or has from now on."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


async def test_the_beginning_of_a_session_may_have_less_than_a_call() -> None:
    """The library reads it itself, by types that list what is wrong with each value."""
    info = {"name": "x", "version": "1", "icons": [0] * 6_000}
    welcome = result({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": info}, 0)
    async with server(says(welcome)) as made:
        with pytest.raises(EgressFailed) as failed:
            await call(url_of(made))
    assert failed.value.failure == "too_large"


async def test_a_ping_is_answered_and_any_other_question_refused_unread() -> None:
    questions = [
        {"jsonrpc": "2.0", "id": "p", "method": "ping", "params": {"zebra": 1}},
        {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {"messages": "zebra"}},
        {"jsonrpc": "2.0", "id": 8, "method": "zebra", "zebra": ["zebra"]},
    ]
    asking = streams(*[event(question) for question in questions], event(TEXT))
    async with server(WELCOME, ACCEPTED, asking, ACCEPTED) as made:
        assert (await call(url_of(made))).content
    pong, *refused = [json.loads(request.body) for request in made.requests[3:]]
    assert pong == {"jsonrpc": "2.0", "id": "p", "result": {}}
    assert [(each["id"], each["error"]["code"]) for each in refused] == [(7, -32601), (8, -32601)]


LOUD: dict[str, Answer] = {
    "a question": streams(event({"jsonrpc": "2.0", "id": 5, "method": "zebra", "params": {"a": "zebra"}}), event(TEXT)),
    "an unknown id": says(TEXT | {"id": "zebra"}),
    "a notification": streams(event({"jsonrpc": "2.0", "method": "zebra", "params": {"a": "zebra"}}), event(TEXT)),
    "a result": says(result({"content": [{"type": "zebra", "zebra": "zebra"}, 5]})),
}


@pytest.mark.parametrize("said", LOUD.values(), ids=LOUD.keys())
async def test_the_root_logger_hears_nothing_of_what_servers_say(
    said: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with server(WELCOME, ACCEPTED, said, ACCEPTED) as made:
        with suppress(EgressFailed):
            await call(url_of(made))
    assert "zebra" not in "".join(record.getMessage() for record in caplog.records if record.name == "root")


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("header", ["Mcp-Session-Id: ä", "Mcp-Session-Id: ab", "Content-Type: ä/json"])
async def test_a_header_that_is_none_ends_the_session_and_holds_no_connection(first: int, header: str) -> None:
    bad = says(json.loads(await body_of(WELCOME)) if first == 0 else TEXT, headers=(header,))
    if header.startswith("Content-Type"):
        bad = answer(b"{}", headers=(header,))
    async with egress(max_connections=1) as outgoing, server(*[WELCOME, ACCEPTED][:first], bad) as made:
        with pytest.raises(EgressFailed) as failed:
            await call(url_of(made), outgoing=outgoing)
        assert failed.value.failure == "protocol"
        assert outgoing._slots._value == 1
    assert len(made.requests) == first + 1


async def test_an_answer_of_which_nothing_can_be_made_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("zebra")

    async with egress(max_connections=1) as outgoing, server(WELCOME) as made:
        monkeypatch.setattr(httpx, "Response", fail)
        with pytest.raises(EgressFailed):
            await call(url_of(made), outgoing=outgoing)
        assert outgoing._slots._value == 1


async def test_what_work_raises_when_nobody_waits_for_it_any_more_is_not_reported() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("zebra")

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with egress() as outgoing:
        session = McpSession(outgoing, McpEndpoint("http://127.0.0.1/", {}), seconds=0.05, idempotency_key="k")
        with pytest.raises(EgressFailed):
            await session._unless_broken(stubborn())
    del session
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


async def test_a_number_that_json_does_not_have_comes_as_null() -> None:
    content = b'{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"a":NaN,"b":' + b"9" * 40 + b"}}}"
    async with server(WELCOME, ACCEPTED, says(content)) as made:
        assert (await call(url_of(made))).structured_content == {"a": None, "b": 10**40 - 1}


async def test_what_the_library_logs_shows_no_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with server(WELCOME, ACCEPTED, says(TEXT)) as made:
        await call(f"http://{OUTSIDE}:{made.port}/zebra-path", headers={"X-Key": "zebra-key"})
    assert caplog.records
    assert "zebra" not in caplog.text
