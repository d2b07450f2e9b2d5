"""What was written, and every secret, is readable in no log line, metric, Redis value or table."""

import re
import signal
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from redis import Redis

from copilot_devstack.processes import wait_until
from support.api import ENCRYPTION_KEY, JWT_SECRET, PASSWORD, PROVIDER_KEY, ApiProcess, SharedApi, Site, StartApi
from support.clients import Client, eventually
from support.collector import CollectorHandle
from support.simulator import scripted
from support.triggers import call_trigger

FIELDS = ["timestamp", "level", "service", "trace_id", "span_id", "tenant_id", "user_id", "message"]
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# What is written where; none of it may be readable anywhere but in the API's answers.
PHRASES = {
    place: f"zebra-{place.replace(' ', '-')}-quagga"
    for place in (
        "title", "prompt", "metadata", "metadata key", "question", "document", "document name", "comment", "query",
        "bad field", "message metadata", "password typed wrong", "name typed as password", "idempotent title",
        "item name", "item content", "item content changed", "bad item", "collection name",
        "workflow name", "workflow text",
        "workflow metadata", "bad workflow", "run input", "bad run input", "schedule input", "trigger name",
        "trigger input", "bad trigger input", "call id", "server path", "server header", "bad server",
        "file name", "file content", "bad file", "item url", "bad url",
    )
}  # fmt: skip


async def talk(client: Client, api: ApiProcess, site: Site) -> list[str]:
    """Everything a user can write, well and badly; returns the secrets that came back."""
    say = PHRASES
    conversation = await client.conversation(
        title=say["title"], system_prompt=say["prompt"], metadata={say["metadata key"]: [say["metadata"]]}
    )
    documents = [{"name": say["document name"], "text": say["document"] + " is written here."}]
    asked: dict[str, Any] = {"documents": documents, "metadata": {"m": say["message metadata"]}}
    answer = await client.ask(conversation, say["question"], model=f"openai/{scripted('cite=1')[0]}", **asked)
    await client.stream(conversation, say["question"], model=f"openai/{scripted('tokens=30,pace_ms=5')[0]}", **asked)
    await client.ask(conversation, say["question"], model=f"openai/{scripted('fault=status')[0]}")
    await client.stream(conversation, say["question"], model=f"openai/{scripted('fault=cut,after=2')[0]}")
    feedback = f"/conversations/{conversation}/messages/{answer.json()['id']}/feedback"
    await client.call("PUT", feedback, {"rating": 1, "comment": say["comment"]})
    await client.call("POST", "/conversations", {"title": say["idempotent title"]}, idempotency_key="once")
    await client.call("GET", f"/conversations?cursor={say['query']}")
    await client.call("POST", "/conversations", {say["bad field"]: say["bad field"], "title": [say["bad field"]]})
    item = {"name": say["item name"], "type": "document", "content": say["item content"]}
    made = (await client.call("POST", "/context", item, idempotency_key="once")).json()
    await client.call("PATCH", f"/context/{made['id']}", {"content": say["item content changed"]})
    await client.call("POST", "/context", item | {"type": say["bad item"], "acl": [{"role": say["bad item"]}]})
    made_collection = (await client.call("POST", "/context/collections", {"name": say["collection name"]})).json()
    named = {"name": say["collection name"], "acl": [{"role": say["bad item"]}]}
    await client.call("PATCH", f"/context/collections/{made_collection['id']}", named)
    await send_files(client)
    for url in (f"https://example.com/{say['item url']}", f"http://127.0.0.1/{say['bad url']}"):
        await client.call("POST", "/context", {"name": "x", "type": "url", "url": url})
    step = {"id": "a", "name": say["workflow name"], "type": "llm", "config": {"prompt": say["workflow text"]}}
    workflow: dict[str, Any] = {"name": say["workflow name"], "steps": [step], "entry_point": "a"}
    workflow |= {"description": say["workflow text"], "metadata": {"m": say["workflow metadata"]}}
    made = (await client.call("POST", "/workflows", workflow, idempotency_key="once more")).json()
    await client.call("PUT", f"/workflows/{made['id']}", workflow | {"name": say["bad workflow"], "priority": 9})
    await client.call("POST", "/workflows/runs", {"workflow_id": made["id"], "inputs": {"i": say["run input"]}})
    await client.call("POST", "/workflows/runs", {"workflow_id": made["id"], "inputs": say["bad run input"]})
    say_inputs = {"cron": "0 12 * * *", "inputs": {"i": say["schedule input"]}}
    await client.call("POST", f"/workflows/{made['id']}/schedules", say_inputs)
    await client.call("GET", f"/workflows/{made['id']}/schedules")
    named = {"name": say["trigger name"]}
    trigger = (await client.call("POST", f"/workflows/{made['id']}/triggers", named, idempotency_key="called")).json()
    for body in (f'{{"i": "{say["trigger input"]}"}}', f'["{say["bad trigger input"]}"]'):
        await call_trigger(client, trigger["url"], trigger["secret"], body, call_id=say["call id"])
    await call_trigger(client, trigger["url"], "whsec_AAAA", body, call_id=say["call id"])
    server = {
        "url": f"https://mcp.example.com/{say['server path']}",
        "headers": {"Authorization": say["server header"]},
    }
    await client.call("POST", "/mcp-servers", server | {"name": "files"}, idempotency_key="registered")
    await client.call("POST", "/mcp-servers", server | {"name": say["bad server"].upper()})
    await client.call("POST", "/mcp-servers", server | {"name": "x", "headers": {say["bad server"] + " ": "x"}})
    await client.call("GET", "/mcp-servers")
    bad_step = step | {"type": "transform", "config": {"set": {"x": f"{say['bad workflow']} +"}}}
    await client.call("POST", "/workflows", workflow | {"steps": [bad_step]})
    for name, password in (
        (site.acme.username, say["password typed wrong"]),
        (say["name typed as password"], PASSWORD),
    ):
        await client.call("POST", "/auth/login", {"username_or_email": name, "password": password})
    session = await client.call("POST", "/auth/login", {"username_or_email": site.acme.username, "password": PASSWORD})
    refreshed = await client.call("POST", "/auth/refresh", {"refresh_token": session.json()["refresh_token"]})
    key = await client.call("POST", "/auth/api-keys", {"name": "k", "scopes": ["read"]})
    invite = await client.call("POST", "/tenants/current/invites", {"email": "a@b.example", "role": "viewer"})
    # A client that puts its key where it does not belong.
    await client.http.get("/api/v1/models", headers={"X-Request-Id": key.json()["key"], "traceparent": PROVIDER_KEY})
    return [
        session.json()["access_token"],
        session.json()["refresh_token"],
        refreshed.json()["access_token"],
        refreshed.json()["refresh_token"],
        key.json()["key"],
        invite.json()["token"],
        trigger["secret"],
    ]


async def send_files(client: Client) -> None:
    """One that is kept and fetched again, one that is refused."""
    say = PHRASES
    good = ("file", (f"{say['file name']}.txt", say["file content"].encode(), "text/plain"))
    bad = ("file", (f"{say['bad file']}.png", say["bad file"].encode(), "image/png"))
    path = "/api/v1/context/files"
    made = await client.http.post(path, files=[good], headers={"Idempotency-Key": "files"})
    assert made.status_code == 201
    await client.call("GET", f"/context/{made.json()[0]['id']}/content?format=original")
    assert (await client.http.post(path, files=[good, bad])).status_code == 415


def check_absent(haystack: bytes, needles: list[bytes], where: str) -> None:
    found = [needle.decode() for needle in needles if needle in haystack]
    assert found == [], where


async def test_nothing_that_was_written_and_no_secret_is_readable_anywhere(
    site: Site, start_api: StartApi, collector: CollectorHandle
) -> None:
    api = start_api(site.environ(log_level="debug", otel_exporter_otlp_endpoint=collector.url))
    async with api.client(site.acme) as client:
        secrets = await talk(client, api, site)
        metrics = (await client.http.get("/metrics")).content
    own = [PASSWORD, ENCRYPTION_KEY, JWT_SECRET, PROVIDER_KEY, site.acme.api_key, site.database.app_url]
    answered = ["word0 word1", "word1 word2"]
    needles = [text.encode() for text in (*PHRASES.values(), *secrets, *own, *answered)]
    assert len(api.log_lines) >= 10
    check_absent(api.log_path.read_bytes(), needles, "log")
    check_absent(metrics, needles, "metrics")
    api.send(signal.SIGTERM)
    assert wait_until(lambda: api.exit_code is not None, 30)
    assert len(collector.spans) >= len(api.log_lines) / 2, "hardly a span was sent: nothing was proved"
    check_absent(b"".join(collector.bodies), [*needles, *ids_of_content(site)], "spans")
    check_absent(dump_redis(site.redis_url), needles, "Redis")
    for table, rows in dump_tables(site).items():
        check_absent(rows, needles, table)


def ids_of_content(site: Site) -> list[bytes]:
    """A route's template is enough: what a path names is a tenant's."""
    tables = ("conversations", "context_items", "workflows", "users")
    return [row[0].encode() for table in tables for row in site.rows(f"SELECT id::text FROM {table}")]


def dump_redis(url: str) -> bytes:
    with Redis.from_url(url) as client:
        keys = list(client.scan_iter())
        assert keys, "Redis is empty: nothing was proved"
        return b"\n".join(key + b" " + client.dump(key) for key in keys)


def dump_tables(site: Site) -> dict[str, bytes]:
    query = """
        SELECT table_schema, table_name FROM information_schema.tables
        WHERE table_schema IN ('public', 'copilot_keys')
    """
    dumped = {}
    with psycopg.connect(site.database.admin_url) as connection:
        for schema, table in connection.execute(query).fetchall():
            cursor = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table)))
            values = [value for row in cursor.fetchall() for value in row]
            dumped[table] = b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)
    assert {"messages", "conversations", "idempotency_keys", "audit_log"} <= dumped.keys()
    return dumped


async def test_log_lines_are_the_guides_json(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        await client.conversation()
        await client.call("GET", "/nowhere")
    lines = shared_api.process.log_lines
    for line in lines:
        assert list(line)[: len(FIELDS)] == FIELDS
        assert TIMESTAMP.fullmatch(line["timestamp"])
        assert line["service"] == "api-server"
        assert line["level"] in {"debug", "info", "warning", "error"}
    requests = [line for line in lines if line["message"] == "Request completed"]
    created = next(line for line in requests if line["path"] == "/api/v1/conversations" and line["status"] == 201)
    assert list(created) == [*FIELDS, "method", "path", "status", "duration_ms"]
    assert (created["method"], created["level"]) == ("POST", "info")
    assert isinstance(created["duration_ms"], int)


async def test_one_trace_id_runs_through_a_request(shared_api: SharedApi) -> None:
    trace, site = uuid4().hex, shared_api.site
    async with shared_api.process.client(site.acme, traceparent=f"00-{trace}-00f067aa0ba902b7-01") as client:
        await client.conversation()

    async def found() -> dict[str, Any] | None:
        return next((line for line in shared_api.process.log_lines if line["trace_id"] == trace), None)

    line = await eventually(found, what="the request's line in the log")  # written once the answer is on its way
    assert line["span_id"] != "00f067aa0ba902b7"
    assert (line["tenant_id"], line["user_id"]) == (site.acme.tenant_id, site.acme.user_id)


async def test_metrics_have_the_guides_names_and_no_ids(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        await client.ask(await client.conversation(), model=f"openai/{scripted('tokens=1')[0]}")
        text = (await client.http.get("/metrics")).text
    for name in (
        "http_requests_total", "http_request_duration_seconds_bucket", "llm_requests_total", "llm_tokens_used_total",
        "active_conversations",
    ):  # fmt: skip
        assert re.search(rf"^{name}[{{ ]", text, re.M), name
    labels = "\n".join(line for line in text.splitlines() if line.startswith("http_"))
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", labels)
    assert 'route="/api/v1/conversations/{conversation_id}/messages"' in labels
