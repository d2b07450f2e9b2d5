"""Tools of MCP servers in workflows: registered, called, and what becomes of calls that fail or are lost."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from copilot_domain.workflows.mcp_servers.service import MAX_SERVERS
from support.api import SharedApi, Site, StartApi, shared_api
from support.clients import Client, eventually, refusal
from support.mcp_server import ACCEPTED, WELCOME, mcp_server, result, says
from support.receiver import Answer, Receiver, answer, hang, receiver, redirect
from support.runs import define, ended, run_of, start, step, steps_of, transform
from support.workers import Workers

__all__ = ["shared_api"]

FINE = says(result({"content": [{"type": "text", "text": "fine"}]}))
URL = "https://mcp.example.com/mcp"


async def register(client: Client, name: str, url: str, **headers: str) -> str:
    body = {"name": name, "url": url, "headers": headers}
    made = await client.call("POST", "/mcp-servers", body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def tool(called: str, next_step: str | None = None, *, timeout_ms: int | None = None, **arguments: Any) -> Any:
    more = {} if timeout_ms is None else {"timeout_ms": timeout_ms}
    return step("call", "tool", {"tool": f"mcp:{called}", "arguments": arguments}, next_step, **more)


def at(server: Receiver) -> str:
    return f"http://127.0.0.1:{server.port}/mcp"


async def test_a_step_calls_a_tool_and_others_use_what_it_gave(client: Client) -> None:
    async with mcp_server() as server:
        await register(client, "sums", server.url, Authorization="Bearer of-the-tenant")
        run = await run_of(
            client,
            tool("sums/add", "use", a="=inputs.a", b=40),
            transform("use", twice="steps.call.output.data.sum * 2"),
            inputs={"a": 2},
        )
    assert (run["status"], run["outputs"]) == ("completed", {"twice": 84})
    assert (server.called, server.headers["authorization"]) == (["add"], "Bearer of-the-tenant")
    assert server.headers["idempotency-key"]
    assert [each["status"] for each in await steps_of(client, run["id"])] == ["completed"] * 2


async def test_texts_are_joined_and_the_rest_is_kept_as_it_came(client: Client) -> None:
    async with mcp_server() as server:
        await register(client, "hall", server.url)
        run = await run_of(client, tool("hall/greet", name="{{ inputs.who }}"), inputs={"who": "Ada"})
    image = {"type": "image", "data": "cGl4ZWxz", "mimeType": "image/png"}
    assert run["outputs"] == {"text": "Hello, Ada.\nBye.", "content": [image]}


async def test_what_a_failed_tool_says_is_not_kept(client: Client) -> None:
    async with mcp_server() as server:
        await register(client, "hall", server.url)
        run = await run_of(client, tool("hall/fail"))
        unknown = await run_of(client, tool("hall/no-such-tool"))
    assert (run["error"]["code"], unknown["error"]["code"]) == ("TOOL_ERROR", "TOOL_ERROR")
    assert "zebra" not in str(run)


async def test_a_server_is_known_while_it_is_registered_and_to_its_tenant_only(client: Client, site: Site) -> None:
    async with mcp_server() as server, Client(str(client.http.base_url), site.other) as other:
        await register(other, "sums", server.url)
        assert (await run_of(client, tool("sums/add", a=1, b=1)))["error"]["code"] == "UNKNOWN_TOOL"
        server_id = await register(client, "sums", server.url)
        assert (await run_of(client, tool("sums/add", a=1, b=1)))["status"] == "completed"
        refusal(await other.call("DELETE", f"/mcp-servers/{server_id}"), 404, "NOT_FOUND")
        assert (await client.call("DELETE", f"/mcp-servers/{server_id}")).status_code == 204
        assert (await run_of(client, tool("sums/add", a=1, b=1)))["error"]["code"] == "UNKNOWN_TOOL"


BEFORE_THE_CALL: dict[str, tuple[list[Answer], str]] = {
    "no credential that it takes": ([answer(status="401 Unauthorized")], "MCP_UNAUTHORIZED"),
    "it lets nobody in": ([answer(status="403 Forbidden")], "MCP_FORBIDDEN"),
    "nothing there": ([answer(status="404 Not Found")], "MCP_NOT_FOUND"),
    "somewhere else": ([redirect("http://169.254.169.254/")], "HTTP_ERROR"),
    "out of order": ([answer(status="500 Oops")], "HTTP_ERROR"),
    "no MCP": ([answer(b"<html>")], "EGRESS_FAILED"),
    "no answer": ([hang], "STEP_TIMEOUT"),
}
AFTER_THE_CALL: dict[str, tuple[list[Answer], str]] = {
    "it reports an error": (
        [says({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "zebra"}})],
        "MCP_ERROR",
    ),
    "it takes no more calls": ([answer(status="429 Too Many")], "HTTP_ERROR"),
    "a gateway gave up on it": ([answer(status="504 Gateway Timeout")], "OUTCOME_UNKNOWN"),
    "it gave up on us": ([answer(status="408 Request Timeout")], "OUTCOME_UNKNOWN"),
    "it says what is no MCP": ([says(b"{}")], "OUTCOME_UNKNOWN"),
    "it never answers": ([hang], "OUTCOME_UNKNOWN"),
}


@pytest.mark.parametrize("case", [*BEFORE_THE_CALL, *AFTER_THE_CALL])
async def test_what_fails_has_a_code(client: Client, case: str) -> None:
    answers, code = BEFORE_THE_CALL.get(case) or AFTER_THE_CALL[case]
    shake_hands = [] if case in BEFORE_THE_CALL else [WELCOME, ACCEPTED]
    async with receiver(*shake_hands, *answers) as server:
        await register(client, "bad", at(server))
        run = await run_of(client, tool("bad/x", timeout_ms=5_000 if answers == [hang] else None))
    assert run["error"]["code"] == code
    assert "zebra" not in str(run)
    assert len(server.requests) == len(shake_hands) + 1


async def test_a_retry_helps_before_the_call_and_is_not_made_after_it(client: Client) -> None:
    busy, twice = answer(status="503 Unavailable"), {"max_attempts": 3, "backoff_ms": 10}
    async with receiver(busy, WELCOME, ACCEPTED, FINE) as server:
        await register(client, "busy", at(server))
        run = await run_of(client, {**tool("busy/x"), "retry": twice})
        assert run["outputs"]["text"] == "fine"
        assert [each["status"] for each in await steps_of(client, run["id"])] == ["failed", "completed"]
    for status, code in (("503 Unavailable", "OUTCOME_UNKNOWN"), ("429 Too Many", "HTTP_ERROR")):
        async with receiver(WELCOME, ACCEPTED, answer(status=status)) as server:
            await register(client, f"busier-{status[:3]}", at(server))
            run = await run_of(client, {**tool(f"busier-{status[:3]}/x"), "retry": twice})
            assert (run["error"]["code"], len(await steps_of(client, run["id"]))) == (code, 1)


async def test_a_run_is_cancelled_in_the_middle_of_a_call(client: Client) -> None:
    async with mcp_server() as server:
        await register(client, "slow", server.url)
        run = await start(client, await define(client, tool("slow/sleep", duration=60)))

        async def has_arrived() -> bool:
            return server.called == ["sleep"]

        await eventually(has_arrived, what="the call")
        await client.call("POST", f"/workflows/runs/{run}/cancel")
        assert (await ended(client, run, seconds=4.0))["status"] == "cancelled"


async def test_a_call_that_a_killed_engine_had_made_is_not_made_again_and_an_unmade_one_is(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ(egress_allow="127.0.0.1", log_level="debug")
    api = start_api(environ)
    first = workers(environ)
    async with (
        api.client(site.acme) as client,
        receiver(WELCOME, ACCEPTED, hang) as made,
        receiver(hang, WELCOME, ACCEPTED, FINE) as unmade,
    ):
        await register(client, "made", at(made) + "/zebra-path", Authorization="zebra-key")
        await register(client, "unmade", at(unmade) + "/zebra-path", Authorization="zebra-key")
        runs = [await start(client, await define(client, tool(f"{name}/x"))) for name in ("made", "unmade")]

        async def both_hang() -> bool:
            return (len(made.requests), len(unmade.requests)) == (3, 1)

        await eventually(both_hang, what="both calls")
        first.kill()
        second = workers(environ)
        lost, done = [await ended(client, run, seconds=30) for run in runs]
        assert (lost["status"], lost["error"]["code"], len(made.requests)) == ("failed", "OUTCOME_UNKNOWN", 3)
        assert (done["status"], done["outputs"]["text"]) == ("completed", "fine")
        for log in (first.log_path, second.log_path, api.log_path):
            assert b"zebra" not in log.read_bytes()


# Registering


def named(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "url": URL, **more}


async def test_headers_are_shown_nowhere(shared_api: SharedApi) -> None:
    async with shared_api.acme as acme:
        name, secret = f"s-{uuid4().hex}", "zebra-in-a-header"
        body = named(name, headers={"X-Key": secret})
        made = await acme.call("POST", "/mcp-servers", body, idempotency_key=name)
        again = await acme.call("POST", "/mcp-servers", body, idempotency_key=name)
        assert (again.status_code, again.json()) == (201, made.json())
        assert made.json().keys() == {"id", "name", "url", "user_id", "created_at"}
        listed = await acme.get("/mcp-servers")
        assert listed["items"][0] == made.json()
        audit = await acme.get(f"/audit?resource_id={made.json()['id']}")
        (told,) = audit["items"]
        assert (told["action"], told["details"]) == ("mcp_server.created", {"name": name})
        assert secret not in f"{made.text}{listed}{audit}"
        assert (await acme.call("DELETE", f"/mcp-servers/{made.json()['id']}")).status_code == 204
        refusal(await acme.call("DELETE", f"/mcp-servers/{made.json()['id']}"), 404, "NOT_FOUND")


async def test_a_name_is_given_once_in_a_tenant(shared_api: SharedApi) -> None:
    async with shared_api.acme as acme, shared_api.other as other:
        name = f"s-{uuid4().hex}"
        ids = [await register(each, name, URL) for each in (acme, other)]
        details = refusal(await acme.call("POST", "/mcp-servers", named(name)), 409, "CONFLICT")
        assert details == {"name": name}
        for each, server_id in zip((acme, other), ids, strict=True):
            await each.call("DELETE", f"/mcp-servers/{server_id}")


async def test_a_tenant_has_so_many_and_no_more(site: Site, start_api: StartApi) -> None:
    async with start_api(site.environ()).client(site.acme) as client:
        for n in range(MAX_SERVERS):
            await register(client, f"s{n}", URL)
        details = refusal(await client.call("POST", "/mcp-servers", named("one-more")), 409, "CONFLICT")
        assert details == {"limit": MAX_SERVERS}
        page = await client.get("/mcp-servers?limit=20")
        assert (page["total"], len(page["items"]), page["has_more"]) == (MAX_SERVERS, 20, True)


FAULTS: list[tuple[dict[str, object], str]] = [
    (named(""), "name"),
    (named("Files"), "name"),
    (named("-x"), "name"),
    (named("a b"), "name"),
    (named("x\n"), "name"),
    (named("x" * 64), "name"),
    (named("x/y"), "name"),
    (named("x", url="ftp://mcp.example.com/"), "url"),
    (named("x", url="http://127.0.0.1/"), "url"),
    (named("x", url="http://169.254.169.254/latest/"), "url"),
    (named("x", url="https://u:p@mcp.example.com/"), "url"),
    (named("x", url="https://mcp.example.com:6379/"), "url"),
    (named("x", headers=[]), "headers"),
    (named("x", headers={"X-Key": 5}), "headers[...]"),
    (named("x", headers={"a b": "c"}), "headers"),
    (named("x", headers={"": "c"}), "headers"),
    (named("x", headers={"X-Key": "a\r\nHost: b"}), "headers"),
    (named("x", headers={"X-Key": "a\nb"}), "headers"),
    (named("x", headers={"X-Key": "ä"}), "headers"),
    (named("x", headers={"X-Key": "x" * 4_097}), "headers"),
    (named("x", headers={"x" * 101: "y"}), "headers"),
    (named("x", headers={"X-Key": "a", "x-key": "b"}), "headers"),
    (named("x", headers={f"x-{n}": "y" for n in range(21)}), "headers"),
    *[
        (named("x", headers={name: "y"}), "headers")
        for name in ("Host", "Connection", "Transfer-Encoding", "Content-Length", "Proxy-Authorization", "TE",
                     "Accept", "Content-Type", "Mcp-Session-Id", "MCP-Protocol-Version", "Last-Event-ID",
                     "Idempotency-Key")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), FAULTS)
async def test_what_may_not_be_registered_is_named(shared_api: SharedApi, body: dict[str, object], field: str) -> None:
    async with shared_api.acme as acme:
        refused: httpx.Response = await acme.call("POST", "/mcp-servers", body)
    assert list(refusal(refused, 422, "VALIDATION_ERROR")["fields"]) == [field]
