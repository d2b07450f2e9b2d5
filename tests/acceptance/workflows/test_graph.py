"""A workflow drawn, with what became of its steps."""

from support.clients import Client, refusal
from support.runs import define, ended, start, step, transform


async def test_a_workflow_is_drawn_and_a_run_coloured(client: Client) -> None:
    workflow = await define(
        client,
        step("each", "loop", {"over": "inputs.items", "body": ["one"]}, "last"),
        transform("one", x="item"),
        transform("last", x="[][0]"),
    )
    plain = await client.call("GET", f"/workflows/{workflow}/graph")
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    assert plain.text.startswith("flowchart TD\n")
    assert "class" not in plain.text
    run = await start(client, workflow, items=[1, 2, 3])
    await ended(client, run)
    drawn = (await client.call("GET", f"/workflows/{workflow}/graph?run_id={run}&format=mermaid")).text
    assert '"one - 3 completed"' in drawn
    assert "  class s1,s2 completed\n" in drawn
    assert "  class s3 failed\n" in drawn


async def test_what_cannot_be_drawn_is_refused(client: Client) -> None:
    workflow, other = [await define(client, transform("one", x="1")) for _ in range(2)]
    run = await start(client, other)
    refusal(await client.call("GET", f"/workflows/{workflow}/graph?run_id={run}"), 404, "NOT_FOUND")
    refusal(await client.call("GET", f"/workflows/{workflow}/graph?version=2"), 404, "NOT_FOUND")
    for query, field in (("format=svg", "format"), ("version=0", "version"), (f"version=1&run_id={run}", "version")):
        answer = await client.call("GET", f"/workflows/{workflow}/graph?{query}")
        assert field in refusal(answer, 422, "VALIDATION_ERROR")["fields"]
