"""What each kind of step does."""

from support.clients import Client
from support.runs import outputs_of, run_of, step, steps_of, transform


async def test_transforms_follow_one_another_and_see_what_came_before(client: Client) -> None:
    outputs = await outputs_of(
        client,
        transform("first", "second", doubled="inputs.n * 2"),
        transform("second", sum="steps.first.output.doubled + 1", of="inputs.n"),
        inputs={"n": 20},
    )
    assert outputs == {"sum": 41, "of": 20}


async def test_a_condition_leads_to_the_first_branch_that_holds(client: Client) -> None:
    steps = [
        step("big", "condition", {"branches": [{"when": "inputs.n > 10", "next": "yes"}], "else": "no"}),
        transform("yes", answer="'yes'"),
        transform("no", answer="'no'"),
    ]
    assert await outputs_of(client, *steps, inputs={"n": 11}) == {"answer": "yes"}
    assert await outputs_of(client, *steps, inputs={"n": 10}) == {"answer": "no"}


async def test_loops_and_parallels_give_what_is_in_them_in_order(client: Client) -> None:
    outputs = await outputs_of(
        client,
        step("each", "loop", {"over": "inputs.words", "body": ["both"], "concurrency": 3}),
        step("both", "parallel", {"branches": [["upper"], ["place"]]}),
        transform("upper", word="item + '!'"),
        transform("place", at="index"),
        inputs={"words": ["a", "b"]},
    )
    assert outputs == {
        "items": [
            {"branches": [{"word": "a!"}, {"at": 0}]},
            {"branches": [{"word": "b!"}, {"at": 1}]},
        ]
    }


async def test_a_while_loop_sees_its_own_iterations(client: Client) -> None:
    run = await run_of(
        client,
        step("grow", "loop", {"while": "size(steps.add.outputs) < 3", "body": ["add"]}),
        transform("add", n="index * 10"),
    )
    assert run["error"] is None
    assert run["outputs"] == {"items": [{"n": 0}, {"n": 10}, {"n": 20}]}
    steps = await steps_of(client, run["id"])
    assert [(each["path"], each["iteration"], each["status"]) for each in steps] == [
        ("grow", None, "completed"),
        *((f"grow[{number}].add", number, "completed") for number in range(3)),
    ]


async def test_a_failing_expression_fails_its_run_with_the_step_and_a_safe_message(client: Client) -> None:
    run = await run_of(client, transform("one", x="inputs.secret.missing"), inputs={"secret": "s3cret"})
    assert (run["status"], run["error"]["step"], run["error"]["code"]) == ("failed", "one", "EXPRESSION_FAILED")
    assert "s3cret" not in run["error"]["message"]
