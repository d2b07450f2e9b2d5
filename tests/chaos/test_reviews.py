"""People answer in a loop inside a branch, also while no engine is there to hear it."""

import asyncio
from typing import Any

import pytest

from support.api import Site, StartApi
from support.clients import Client, eventually
from support.receiver import hang, receiver
from support.runs import define, ended, in_status, start, step, steps_of, transform
from support.workers import Workers

_LEAD_SECONDS = 40.0  # a lapsed lease, an engine that starts, on a machine that is busy


async def reviewed(client: Client, asked: list[str], **ask: Any) -> str:
    """A run that asks for each of these, all at once, in a loop in a branch, beside another branch."""
    config = {"prompt": "{{ item }}?", "data": {"item": "=item"}, **ask}
    workflow = await define(
        client,
        step("both", "parallel", {"branches": [["each"], ["beside"]]}, "told"),
        step("each", "loop", {"over": "inputs.asked", "body": ["review", "note"], "concurrency": 10}),
        step("review", "human_review", config),
        transform("note", item="item", said="steps.review.output.decision", comment="steps.review.output.comment"),
        transform("beside", x="1"),
        transform("told", notes="steps.each.output.items"),
    )
    return await start(client, workflow, asked=asked)


async def open_reviews(client: Client, run: str, count: int) -> dict[str, str]:
    """The path at which to answer, by what is asked about; once the run waits for all of them."""

    async def all_asked() -> list[Any]:
        found: list[Any] = (await client.get(f"/workflows/runs/{run}/reviews"))["items"]
        return found if len(found) == count else []

    reviews = await eventually(all_asked, seconds=_LEAD_SECONDS, what="all reviews")
    await in_status(client, run, "waiting", seconds=_LEAD_SECONDS)
    return {each["data"]["item"]: f"/workflows/runs/{run}/reviews/{each['id']}" for each in reviews}


async def answer(client: Client, path: str, decision: str) -> int:
    return (await client.call("POST", path, {"decision": decision, "comment": f"I {decision}."})).status_code


def note(item: str, said: str) -> dict[str, str]:
    return {"item": item, "said": said, "comment": f"I {said}."}


async def check_whole(client: Client, run: str) -> None:
    """No step twice, none left."""
    steps = await steps_of(client, run)
    assert len({each["path"] for each in steps}) == len(steps)
    assert {each["status"] for each in steps} == {"completed"}


@pytest.fixture
def environ(site: Site) -> dict[str, str]:
    return site.environ()


async def test_each_iteration_goes_on_with_its_own_answer(
    site: Site, environ: dict[str, str], start_api: StartApi, workers: Workers
) -> None:
    workers(environ)
    async with start_api(environ).client(site.acme) as client:
        run = await reviewed(client, ["yes", "no", "twice", "never"], timeout_ms=6_000, on_timeout="approve")
        paths = await open_reviews(client, run, 4)
        both = [answer(client, paths["twice"], decision) for decision in ("approve", "reject")]
        codes = await asyncio.gather(
            answer(client, paths["yes"], "approve"), answer(client, paths["no"], "reject"), *both
        )
        assert codes == [200] * 4
        reviews = (await client.get(f"/workflows/runs/{run}/reviews"))["items"]
        (first,) = [each["decision"] for each in reviews if each["data"]["item"] == "twice"]
        assert await answer(client, paths["yes"], "reject") == 200  # too late, and changes nothing
        shown = await ended(client, run, seconds=_LEAD_SECONDS)
        never = {"item": "never", "said": "approve", "comment": None}
        notes = [note("yes", "approve"), note("no", "reject"), note("twice", first), never]
        assert shown["outputs"] == {"notes": notes}, shown
        await check_whole(client, run)


async def test_answers_given_while_no_engine_is_there_are_heard(
    site: Site, environ: dict[str, str], start_api: StartApi, workers: Workers
) -> None:
    engine = workers(environ)
    async with start_api(environ).client(site.acme) as client:
        run = await reviewed(client, ["one", "two"])
        paths = await open_reviews(client, run, 2)
        engine.kill()
        assert await answer(client, paths["one"], "approve") == 200
        workers(environ).kill()  # it may have heard, and died of it
        assert await answer(client, paths["two"], "reject") == 200
        workers(environ)
        shown = await ended(client, run, seconds=_LEAD_SECONDS)
        assert shown["outputs"] == {"notes": [note("one", "approve"), note("two", "reject")]}, shown
        await check_whole(client, run)


async def test_an_answer_in_time_counts_where_an_engine_comes_too_late_to_hear_it(
    site: Site, environ: dict[str, str], start_api: StartApi, workers: Workers
) -> None:
    engine = workers(environ)
    async with start_api(environ).client(site.acme) as client:
        run = await reviewed(client, ["in time", "never"], timeout_ms=8_000, on_timeout="reject")
        paths = await open_reviews(client, run, 2)
        engine.kill()
        assert await answer(client, paths["in time"], "approve") == 200

        async def is_late() -> bool:
            query = "SELECT now() > max(due_at) FROM workflow_reviews WHERE run_id = %s"
            return bool(site.rows(query, run)[0][0])

        await eventually(is_late, seconds=_LEAD_SECONDS, what="the time being up")
        workers(environ)
        shown = await ended(client, run, seconds=_LEAD_SECONDS)
        never = {"item": "never", "said": "reject", "comment": None}
        assert shown["outputs"] == {"notes": [note("in time", "approve"), never]}, shown
        await check_whole(client, run)


async def test_an_answer_wakes_a_branch_while_another_one_is_busy(
    site: Site, start_api: StartApi, workers: Workers
) -> None:
    environ = site.environ(egress_allow="127.0.0.1", http_tool_hosts="127.0.0.1")
    workers(environ)
    async with start_api(environ).client(site.acme) as client, receiver(hang) as server:
        arguments = {"method": "PUT", "url": f"http://127.0.0.1:{server.port}/"}
        workflow = await define(
            client,
            step("both", "parallel", {"branches": [["call"], ["review", "note"]], "join": "any"}, "told"),
            step("call", "tool", {"tool": "http.request", "arguments": arguments}),
            step("review", "human_review", {"prompt": "?", "data": {"item": "it"}}),
            transform("note", said="steps.review.output.decision"),
            transform("told", x="1"),
        )
        run = await start(client, workflow)

        async def is_busy() -> bool:
            reviews = (await client.get(f"/workflows/runs/{run}/reviews"))["items"]
            return len(reviews) == 1 and len(server.requests) == 1

        await eventually(is_busy, seconds=_LEAD_SECONDS, what="the call and the review")
        (review,) = (await client.get(f"/workflows/runs/{run}/reviews"))["items"]
        assert await answer(client, f"/workflows/runs/{run}/reviews/{review['id']}", "approve") == 200
        shown = await ended(client, run, seconds=15)
        assert (shown["status"], shown["outputs"]) == ("completed", {"x": 1}), shown
