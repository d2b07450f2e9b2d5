"""Workflows and runs as tests need them: defined, started, waited for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.clients import V1, Client, Event, Stream, eventually

ENDED = {"completed", "failed", "cancelled"}


def step(step_id: str, step_type: str, config: dict[str, Any], next_step: str | None = None, **more: Any) -> Any:
    links = {"next_steps": [next_step]} if next_step else {}
    return {"id": step_id, "name": step_id, "type": step_type, "config": config, **links, **more}


def transform(step_id: str, next_step: str | None = None, **values: str) -> Any:
    return step(step_id, "transform", {"set": values}, next_step)


async def define(client: Client, *steps: Any, **more: Any) -> str:
    """The first step is where it begins."""
    body = {"name": "test", "steps": list(steps), "entry_point": steps[0]["id"], **more}
    answer = await client.call("POST", "/workflows", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def start(client: Client, workflow: str, **inputs: Any) -> str:
    answer = await client.call("POST", "/workflows/runs", {"workflow_id": workflow, "inputs": inputs})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def in_status(client: Client, run: str, *statuses: str, seconds: float = 20.0) -> Any:
    async def found() -> Any:
        shown = await client.get(f"/workflows/runs/{run}")
        return shown if shown["status"] in statuses else None

    return await eventually(found, seconds=seconds, what=f"the run being {' or '.join(statuses)}")


async def ended(client: Client, run: str, *, seconds: float = 20.0) -> Any:
    return await in_status(client, run, *ENDED, seconds=seconds)


async def run_of(client: Client, *steps: Any, inputs: dict[str, Any] | None = None, **more: Any) -> Any:
    """Defined, started and ended."""
    return await ended(client, await start(client, await define(client, *steps, **more), **(inputs or {})))


async def steps_of(client: Client, run: str) -> list[Any]:
    shown = await client.get(f"/workflows/runs/{run}/steps?limit=100")
    return list(shown["items"])


async def outputs_of(client: Client, *steps: Any, inputs: dict[str, Any] | None = None) -> Any:
    shown = await run_of(client, *steps, inputs=inputs)
    assert shown["status"] == "completed", shown["error"]
    return shown["outputs"]


@asynccontextmanager
async def followed(client: Client, run: str, *, after: int | None = None) -> AsyncIterator[Stream]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with client.http.stream("GET", f"{V1}/workflows/runs/{run}/events", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


async def events_of(client: Client, run: str, *, after: int | None = None) -> list[Event]:
    """To the run's end; numbered without gaps."""
    async with followed(client, run, after=after) as stream:
        events = await stream.rest()
    assert stream.is_done
    first = (after or 0) + 1
    assert [event.number for event in events] == list(range(first, first + len(events)))
    assert all(event.type != "nothing" for event in events), "a number that no row has"
    return events
