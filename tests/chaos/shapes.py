"""Workflows of many shapes, and what each must come to, whatever happens to the processes that lead it.

Calls carry their run and their place in the URL, so that the server can count: POST is sent at most once, PUT again.
What a run has given is told from what its steps say: a POST that was lost says OUTCOME_UNKNOWN, and its run goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from support.clients import Client
from support.runs import define, step, transform
from support.simulator import scripted

_BRANCH_STEPS = "abcdefghi"


@dataclass(frozen=True)
class Ran:
    """A run that has ended. `n` is what it was given; `steps` are the last attempts, by path."""

    n: int
    run: dict[str, Any]
    steps: dict[str, Any]

    def has_completed(self, path: str) -> bool:
        return path in self.steps and self.steps[path]["status"] == "completed"

    def has_failed(self, path: str) -> bool:
        return path in self.steps and self.steps[path]["status"] == "failed"

    def sent(self, path: str) -> str:
        """What became of a POST."""
        if self.has_completed(path):
            return "sent"
        assert (self.steps[path]["status"], self.steps[path]["error"]["code"]) == ("failed", "OUTCOME_UNKNOWN")
        return "OUTCOME_UNKNOWN"

    def decision(self, path: str) -> str:
        """Of whichever of the answers came first."""
        assert self.steps[path]["output"]["comment"] == f"{self.steps[path]['output']['decision']} {path}"
        return str(self.steps[path]["output"]["decision"])


Outputs = Callable[[Ran], object]


@dataclass(frozen=True)
class Shape:
    """`outputs` are exactly the run's; `error` its step and code, where it fails. `cancelled_at`: at which review it is
    cancelled. `at_once`: how many of its runs."""

    name: str
    steps: list[Any]
    outputs: Outputs = lambda ran: None
    error: tuple[str, str] | None = None
    cancelled_at: str | None = None
    at_once: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Of its definition."""
        return {} if self.at_once is None else {"concurrency": {"limit": self.at_once}}

    @property
    def status(self) -> str:
        return "failed" if self.error else "cancelled" if self.cancelled_at else "completed"

    def check(self, ran: Ran) -> None:
        assert ran.run["status"] == self.status, (self.name, ran.run, list(ran.steps.values()))
        assert ran.run["outputs"] == self.outputs(ran), (self.name, ran.run, list(ran.steps.values()))
        error = ran.run["error"]
        assert (error and (error["step"], error["code"])) == self.error, (self.name, ran.run)


async def shapes(client: Client, port: int) -> list[Shape]:
    """Those that start other runs have what they start defined already."""
    child = await define(
        client,
        _put("fetch", port, "rest"),
        step("rest", "wait", {"seconds": 1}, "give"),
        transform("give", n="inputs.n * 2", place="steps.fetch.output.body"),
    )
    failing = await define(client, transform("bad", x="inputs.missing"))
    patient = await define(client, step("ask_for_ever", "human_review", {"prompt": "?"}))
    return [
        _chain(), _calls(port), _over(port), _while(port), _times(), _joins(port), _hurry(port), _conditions(port),
        _waits(), _review(), _reviews(port), _ignored(), _children(child, failing), _flaky(port), _errors(), _asks(),
        _fails(port), _is_cancelled(patient), _in_turns(port),
    ]  # fmt: skip


def _call(step_id: str, port: int, method: str, place: str, following: str | None, **more: Any) -> Any:
    arguments = {"method": method, "url": f"http://127.0.0.1:{port}/{{{{ run.id }}}}/{place}"}
    return step(step_id, "tool", {"tool": "http.request", "arguments": arguments}, following, **more)


def _put(step_id: str, port: int, following: str | None = None, place: str = "", **more: Any) -> Any:
    return _call(step_id, port, "PUT", place or step_id, following, **more)


def _post(step_id: str, port: int, following: str | None = None, place: str = "") -> Any:
    return _call(step_id, port, "POST", place or step_id, following, on_error="continue")


def _said(step_id: str) -> str:
    return f"steps.{step_id}.error == null ? 'sent' : steps.{step_id}.error.code"


def _ended_well(loop: str) -> str:
    """Of the parallels in it: how many branches have an output."""
    return f"steps.{loop}.output.items.map(i, i.branches.filter(b, b != null).size())"


def _chain() -> Shape:
    names = ["one", "two", "three", "four", "five"]
    steps = [transform("one", "two", n="inputs.n + 1")]
    for before, name, after in zip(names, names[1:], [*names[2:], None], strict=False):
        steps.append(transform(name, after, n=f"steps.{before}.output.n + 1"))
    return Shape("chain", steps, lambda ran: {"n": ran.n + 5})


def _calls(port: int) -> Shape:
    steps = [
        _post("once", port, "again"),
        _put("again", port, "more"),
        _post("more", port, "told"),
        transform("told", once=_said("once"), more=_said("more"), again="steps.again.output.body"),
    ]
    return Shape("calls", steps, lambda ran: {"once": ran.sent("once"), "more": ran.sent("more"), "again": "again"})


def _over(port: int) -> Shape:
    steps = [
        transform("list", "each", items="[inputs.n, inputs.n + 1, inputs.n + 2, inputs.n + 3, inputs.n + 4]"),
        step("each", "loop", {"over": "steps.list.output.items", "body": ["call", "add"], "concurrency": 3}),
        _put("call", port, place="call-{{ index }}-{{ item }}"),
        transform("add", n="item + 1", said="steps.call.output.body"),
    ]

    def outputs(ran: Ran) -> object:
        return {"items": [{"n": ran.n + i + 1, "said": f"call-{i}-{ran.n + i}"} for i in range(5)]}

    return Shape("over", steps, outputs)


def _while(port: int) -> Shape:
    steps = [
        step("grow", "loop", {"while": "size(steps.add.outputs) < inputs.n % 3 + 2", "body": ["once", "add"]}),
        _post("once", port, place="once-{{ index }}"),
        transform("add", n="index * 10", once=_said("once")),
    ]

    def outputs(ran: Ran) -> object:
        return {"items": [{"n": i * 10, "once": ran.sent(f"grow[{i}].once")} for i in range(ran.n % 3 + 2)]}

    return Shape("while", steps, outputs)


def _times() -> Shape:
    steps = [
        step("each", "loop", {"times": 6, "body": ["rest", "place"], "concurrency": 2}),
        step("rest", "wait", {"seconds": "=index % 2 == 0 ? 0 : 1"}),
        transform("place", at="index"),
    ]
    return Shape("times", steps, lambda ran: {"items": [{"at": i} for i in range(6)]})


def _joins(port: int) -> Shape:
    """Parallels of every join, in loops, in a parallel. Which branch of `any` and of `count` comes first is open, not
    how many do."""
    a, b, c, d, e, f, g, h, i = list(_BRANCH_STEPS)
    loop = {"times": 2, "concurrency": 2}
    steps = [
        step("both", "parallel", {"branches": [["all_loop"], ["any_loop"], ["two_loop"]]}, "told"),
        step("all_loop", "loop", {**loop, "body": ["all"]}),
        step("any_loop", "loop", {**loop, "body": ["any"]}),
        step("two_loop", "loop", {**loop, "body": ["two"]}),
        step("all", "parallel", {"branches": [[a], [b], [c]]}),
        step("any", "parallel", {"branches": [[d, "d_end"], [e], [f]], "join": "any"}),
        step("two", "parallel", {"branches": [[g, "g_end"], [h], [i]], "join": {"count": 2}}),
        transform(a, at="index"),
        _put(b, port, place="b-{{ index }}"),
        _post(c, port, place="c-{{ index }}"),
        step(d, "wait", {"seconds": 2}),
        transform("d_end", by="'d'"),
        _post(e, port, place="e-{{ index }}"),
        _put(f, port, place="f-{{ index }}"),
        step(g, "wait", {"seconds": 1}),
        transform("g_end", by="'g'"),
        transform(h, by="'h'"),
        _put(i, port, place="i-{{ index }}"),
        transform(
            "told",
            all=_ended_well("all_loop"),
            any=_ended_well("any_loop"),
            two=_ended_well("two_loop"),
        ),
    ]

    def outputs(ran: Ran) -> object:
        for index in range(2):
            place = f"both[0].all_loop[{index}].all"
            assert ran.has_completed(f"{place}[0].a")
            assert ran.has_completed(f"{place}[1].b")
        lost = [ran.has_failed(f"both[1].any_loop[{index}].any[1].e") for index in range(2)]
        assert all(was_lost or count == 1 for was_lost, count in zip(lost, ran.run["outputs"]["any"], strict=True))
        all_sent = [2 + (ran.sent(f"both[0].all_loop[{index}].all[2].c") == "sent") for index in range(2)]
        return {"all": all_sent, "any": ran.run["outputs"]["any"], "two": [2, 2]}

    return Shape("joins", steps, outputs)


def _hurry(port: int) -> Shape:
    """The first of two ends the other in the middle of its call."""
    branches = {"branches": [["slow"], ["quick"]]}
    steps = [
        step("race", "parallel", {**branches, "join": "any", "on_branch_error": "continue"}, "told"),
        _call("slow", port, "POST", "slow", None),
        step("quick", "wait", {"seconds": "=inputs.n % 2 == 0 ? 0 : 1"}),
        transform("told", n="inputs.n"),
    ]
    steps[1]["config"]["arguments"]["url"] += "?seconds=8"
    return Shape("hurry", steps, lambda ran: {"n": ran.n})


def _conditions(port: int) -> Shape:
    ways = [{"when": "inputs.n % 3 == 0", "next": "called"}, {"when": "inputs.n % 3 == 1", "next": "rest"}]
    steps = [
        step("which", "condition", {"branches": ways, "else": "other"}),
        _put("called", port, "last"),
        step("rest", "wait", {"seconds": 1}, "last"),
        transform("other", "last", x="1"),
        transform("last", way="steps.which.output.next", n="inputs.n"),
    ]
    return Shape("conditions", steps, lambda ran: {"way": ("called", "rest", "other")[ran.n % 3], "n": ran.n})


def _waits() -> Shape:
    steps = [
        step("rest", "wait", {"seconds": "=inputs.n % 4 + 1"}, "both"),
        step("both", "parallel", {"branches": [["short", "after"], ["long"]]}, "told"),
        step("short", "wait", {"seconds": 1}),
        transform("after", x="1"),
        step("long", "wait", {"seconds": 2}),
        transform("told", n="inputs.n"),
    ]
    return Shape("waits", steps, lambda ran: {"n": ran.n})


def _review() -> Shape:
    steps = [
        step("ask", "human_review", {"prompt": "Is {{ inputs.n }} right?", "data": {"n": "=inputs.n"}}, "told"),
        transform("told", said="steps.ask.output.decision", n="steps.ask.output.data.n"),
    ]
    return Shape("review", steps, lambda ran: {"said": ran.decision("ask"), "n": 7})


def _reviews(port: int) -> Shape:
    """In a loop, in a branch, beside others that go on."""
    steps = [
        step("both", "parallel", {"branches": [["each"], ["call", "rest"], ["ask_beside", "beside"]]}, "told"),
        step("each", "loop", {"times": 3, "body": ["ask", "note"], "concurrency": 2}),
        step("ask", "human_review", {"prompt": "{{ index }}?"}),
        transform("note", said="steps.ask.output.decision"),
        _put("call", port),
        step("rest", "wait", {"seconds": 2}),
        step("ask_beside", "human_review", {"prompt": "And?"}),
        transform("beside", said="steps.ask_beside.output.decision"),
        transform("told", said="steps.each.output.items.map(i, i.said)", beside="steps.beside.output.said"),
    ]

    def outputs(ran: Ran) -> object:
        said = [ran.decision(f"both[0].each[{index}].ask") for index in range(3)]
        return {"said": said, "beside": ran.decision("both[2].ask_beside")}

    return Shape("reviews", steps, outputs)


def _ignored() -> Shape:
    """Nobody answers what begins with `ignore`."""
    steps = [
        step("each", "loop", {"times": 2, "body": ["ignore", "note"], "concurrency": 2}, "ignore_all"),
        step("ignore", "human_review", {"prompt": "?", "timeout_ms": 1500, "on_timeout": "reject"}),
        transform("note", said="steps.ignore.output.decision"),
        step("ignore_all", "human_review", {"prompt": "?", "timeout_ms": 700}, on_error={"next": "told"}),
        transform("told", said="steps.each.output.items.map(i, i.said)", code="steps.ignore_all.error.code"),
    ]
    return Shape("ignored", steps, lambda ran: {"said": ["reject", "reject"], "code": "REVIEW_TIMEOUT"})


def _children(child: str, failing: str) -> Shape:
    steps = [
        step("each", "loop", {"over": "[inputs.n, inputs.n + 1]", "body": ["call"], "concurrency": 2}, "fail"),
        step("call", "workflow", {"workflow_id": child, "inputs": {"n": "=item"}}),
        step("fail", "workflow", {"workflow_id": failing}, "told", on_error="continue"),
        transform("told", n="steps.each.output.items.map(i, i.n)", code="steps.fail.error.code"),
    ]
    return Shape("children", steps, lambda ran: {"n": [ran.n * 2, ran.n * 2 + 2], "code": "CHILD_FAILED"})


def _flaky(port: int) -> Shape:
    """A server that answers each key with 503 the first time."""
    retry = {"max_attempts": 20, "backoff_ms": 100, "max_backoff_ms": 300}
    steps = [
        step("each", "loop", {"times": 2, "body": ["call"], "concurrency": 2}, "told"),
        _put("call", port, place="flaky-{{ index }}", retry=retry),
        transform("told", said="steps.each.output.items.map(i, i.body)"),
    ]
    return Shape("flaky", steps, lambda ran: {"said": ["flaky-0", "flaky-1"]})


def _errors() -> Shape:
    """Each way to go on after a failure."""
    steps = [
        step(
            "some", "parallel", {"branches": [["bad"], ["good"]], "on_branch_error": "continue", "join": "any"}, "over"
        ),
        transform("bad", x="inputs.missing"),
        transform("good", x="1"),
        step("over", "loop", {"times": 2, "body": ["worse"]}, "lead", on_error="continue"),
        transform("worse", x="inputs.missing"),
        transform("lead", "not_this", x="inputs.missing") | {"on_error": {"next": "told"}},
        transform("not_this", "told", x="1"),
        transform("told", over="steps.over.error.code", lead="steps.lead.error.code"),
    ]

    def outputs(ran: Ran) -> object:
        assert "not_this" not in ran.steps
        assert ran.has_failed("over")
        return {"over": "EXPRESSION_FAILED", "lead": "EXPRESSION_FAILED"}

    return Shape("errors", steps, outputs)


def _in_turns(port: int) -> Shape:
    steps = [
        _put("call", port, "rest"),
        step("rest", "wait", {"seconds": 1}, "told"),
        transform("told", said="steps.call.output.body"),
    ]
    return Shape("in turns", steps, lambda ran: {"said": "call"}, at_once=2)


def _asks() -> Shape:
    model = f"openai/{scripted('tokens=4,pace_ms=30')[0]}"
    steps = [
        step("ask", "llm", {"prompt": "Tell {{ inputs.n }}.", "model": model}, "told"),
        transform("told", text="steps.ask.output.text"),
    ]
    return Shape("asks", steps, lambda ran: {"text": "word0 word1 word2 word3 "})


def _fails(port: int) -> Shape:
    """One branch of a loop fails the run, and ends what goes on beside it."""
    steps = [
        _put("first", port, "both"),
        step("both", "parallel", {"branches": [["rest", "bad"], ["long"]]}),
        step("rest", "wait", {"seconds": 1}),
        transform("bad", x="inputs.missing"),
        step("long", "wait", {"seconds": 60}),
    ]
    return Shape("fails", steps, error=("both[0].bad", "EXPRESSION_FAILED"))


def _is_cancelled(patient: str) -> Shape:
    """In the middle of a wait, a call of another run and a review."""
    steps = [
        step("both", "parallel", {"branches": [["child"], ["ask_to_cancel"], ["long"]]}),
        step("child", "workflow", {"workflow_id": patient}),
        step("ask_to_cancel", "human_review", {"prompt": "?"}),
        step("long", "wait", {"seconds": 300}),
    ]
    return Shape("cancelled", steps, cancelled_at="ask_to_cancel")
