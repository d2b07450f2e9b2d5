"""Every definition in `examples/workflows` does what it says."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.api import Site, StartApi
from support.background import add_item, ready_item
from support.clients import Client, eventually
from support.models import Reply, provider
from support.receiver import answer, receiver
from support.runs import ended, start, steps_of
from support.workers import CONTEXT, Workers

EXAMPLES = Path(__file__).parents[3] / "examples" / "workflows"
CALLS = 100
WORDS = 1_045  # of two tokens each: 100 calls make a history of about 209 000 tokens


@asynccontextmanager
async def stage(
    site: Site, start_api: StartApi, workers: Workers, reply: Reply, *, with_context: bool = False
) -> AsyncIterator[tuple[Client, list[Any]]]:
    async with provider(reply) as (url, asked):
        environ = site.environ(openai_base_url=url, egress_allow="127.0.0.1", http_tool_hosts="127.0.0.1")
        api = start_api(environ)
        workers(environ)
        if with_context:
            workers(environ, CONTEXT)
        async with api.client(site.acme) as client:
            yield client, asked


async def apply(client: Client, name: str) -> str:
    text = (EXAMPLES / f"{name}.yaml").read_text()
    made = await client.http.post("/api/v1/workflows", content=text, headers={"content-type": "application/yaml"})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def last_text(messages: list[dict[str, Any]]) -> str:
    return str(messages[-1]["content"])


async def test_code_review(site: Site, start_api: StartApi, workers: Workers) -> None:
    def reply(messages: list[dict[str, Any]]) -> str:
        text = last_text(messages)
        if text.startswith("Sum up"):
            return "b.py needs work."
        if "File: c.py" in str(messages):
            return "I would rather not."  # twice: this file's review fails, the others' do not
        bad = "b.py" in text
        return json.dumps({"severity": "major" if bad else "none", "comments": ["Off by one."] if bad else []})

    async with stage(site, start_api, workers, reply) as (client, asked):
        files = [{"path": f"{name}.py", "diff": "+x"} for name in "abc"]
        run = await ended(client, await start(client, await apply(client, "code_review"), title="Fix", files=files))
    assert (run["status"], run["error"]) == ("completed", None)
    assert run["outputs"]["text"] == "b.py needs work."
    assert "b.py (major): Off by one." in last_text(asked[-1])
    assert "c.py (unknown)" in last_text(asked[-1])


async def test_document_triage(site: Site, start_api: StartApi, workers: Workers) -> None:
    def reply(messages: list[dict[str, Any]]) -> str:
        return json.dumps({"kind": "invoice", "confidence": 0.3 if "odd" in last_text(messages) else 0.95})

    async with stage(site, start_api, workers, reply) as (client, _):
        documents = [{"id": name, "text": f"{name} thing"} for name in ("plain", "odd1", "odd2")]
        run_id = await start(client, await apply(client, "document_triage"), documents=documents)

        async def two_reviews() -> Any:
            items = (await client.get(f"/workflows/runs/{run_id}/reviews"))["items"]
            return items if len(items) == 2 else None

        for review in await eventually(two_reviews, seconds=20, what="two reviews"):
            decision = "approve" if review["data"]["document"] == "odd1" else "reject"
            path = f"/workflows/runs/{run_id}/reviews/{review['id']}"
            assert (await client.call("POST", path, {"decision": decision})).status_code == 200
        run = await ended(client, run_id)
    assert run["outputs"] == {
        "documents": [
            {"id": "plain", "kind": "invoice", "by": "model"},
            {"id": "odd1", "kind": "invoice", "by": "person"},
            {"id": "odd2", "kind": "other", "by": "person"},
        ],
        "asked": 2,
    }


async def test_research(site: Site, start_api: StartApi, workers: Workers) -> None:
    def reply(messages: list[dict[str, Any]]) -> str:
        text = last_text(messages)
        return "It is old." if text.startswith("What speaks") else "Yes, because of the harbour."

    async with stage(site, start_api, workers, reply, with_context=True) as (client, asked):
        assert (await ready_item(client, await add_item(client, "The harbour needs a lamp.")))["status"] == "ready"
        run = await ended(client, await start(client, await apply(client, "research"), question="Does it need a lamp?"))
    assert (run["status"], run["outputs"]["text"]) == ("completed", "Yes, because of the harbour.")
    assert "It is old." in last_text(asked[-1])


async def test_nightly_summary(site: Site, start_api: StartApi, workers: Workers) -> None:
    events = json.dumps({"events": ["The lamp broke."]}).encode()
    as_json = ("Content-Type: application/json",)
    async with (
        stage(site, start_api, workers, lambda _: "The lamp.") as (client, _),
        receiver(answer(events, headers=as_json)) as source,
        receiver(answer(b"{}", headers=as_json)) as target,
    ):
        urls = {"events_url": f"http://127.0.0.1:{source.port}/", "deliver_url": f"http://127.0.0.1:{target.port}/"}
        run = await ended(client, await start(client, await apply(client, "nightly_summary"), **urls))
        assert run["status"] == "completed", run["error"]
        (delivered,) = target.requests
    assert json.loads(delivered.body) == {"text": "The lamp.", "run": run["id"]}


async def test_an_agent_of_a_hundred_calls_stores_as_much_at_the_end_as_at_the_begin(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    """Its history comes to about 209 000 tokens."""
    said = "thinking " * WORDS

    async with stage(site, start_api, workers, lambda _: said) as (client, asked):
        run = await ended(client, await start(client, await apply(client, "agent"), task="Think."), seconds=120)
        assert (run["status"], run["error"]) == ("completed", None)
        assert (run["outputs"]["calls"], run["outputs"]["last"]) == (CALLS, said)
        assert len(await steps_of(client, run["id"])) == CALLS
    assert len(asked) == CALLS
    assert sum(len(str(each["content"])) for each in asked[-1]) > 0.98 * (CALLS - 1) * len(said)
    rows = site.rows(
        "SELECT pg_column_size(s.*) FROM workflow_steps s"
        " WHERE run_id = %s AND step_id = 'think' AND type = 'llm' ORDER BY fact",
        run["id"],
    )
    sizes = [row[0] for row in rows]
    assert len(sizes) == CALLS
    assert max(sizes) <= 1.02 * min(sizes)
    sys.stderr.write(f"\nagent: {min(sizes)} to {max(sizes)} bytes a step, for answers of {len(said)} bytes\n")
