"""What a person sees of a run's events."""

from datetime import UTC, datetime, timedelta

import pytest

from copilot_cli.client.run_types import RunError, RunEvent
from copilot_cli.run_tree import RunTree, duration
from copilot_cli.watching import event_line

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NO = RunError("BAD", "No.")
STOPPED = RunError("CANCELLED", "Stopped.")


class Story:
    """Events, told briefly: one a second."""

    def __init__(self) -> None:
        self.tree = RunTree()
        self._now = NOON
        self.run("run_started")

    def run(self, event_type: str, error: RunError | None = None) -> None:
        self._take(RunEvent(event_type, at=self._now, error=error))

    def began(self, path: str, step_type: str = "transform", attempt: int = 1) -> None:
        self._step("step_started", path, step_type, attempt)

    def ended(self, path: str, step_type: str = "transform", attempt: int = 1) -> None:
        self._step("step_completed", path, step_type, attempt)

    def failed(self, path: str, step_type: str = "transform", attempt: int = 1, error: RunError = NO) -> None:
        self._step("step_failed", path, step_type, attempt, error)

    def asks(self, path: str, prompt: str) -> None:
        self._take(RunEvent("review_requested", at=self._now, path=path, prompt=prompt))

    def shown(self, most: int | None = None) -> list[str]:
        """`  failed b  tool · 1.00 s  BAD: No.`"""
        return [
            "  ".join(filter(None, ["  " * line.depth + f"{line.status} {line.text}", line.detail, line.error]))
            for line in self.tree.lines(self._now, most)
        ]

    def _step(self, event_type: str, path: str, step_type: str, attempt: int, error: RunError | None = None) -> None:
        step = path.rpartition(".")[2]
        self._take(
            RunEvent(event_type, self._now, path, step, step_type, attempt, error=error),
        )

    def _take(self, event: RunEvent) -> None:
        self._now += timedelta(seconds=1)
        self.tree.take(event)


def test_steps_are_shown_with_state_time_attempt_and_error() -> None:
    story = Story()
    story.began("a")
    story.ended("a")
    story.began("b", "tool")
    story.failed("b", "tool")
    story.began("b", "tool", attempt=2)
    assert story.shown() == ["completed a  transform · 1.00 s", "running b  tool · 1.00 s · attempt 2"]
    story.failed("b", "tool", attempt=2)
    story.run("run_failed", NO)
    assert story.shown()[1] == "failed b  tool · 1.00 s · attempt 2  BAD: No."
    assert (story.tree.status, story.tree.error) == ("failed", NO)


def test_branches_and_iterations_stand_below_their_step() -> None:
    story = Story()
    story.began("both", "parallel")
    story.began("both[0].each", "loop")
    story.began("both[0].each[0].x")
    story.began("both[1].y")
    story.ended("both[1].y")
    assert [line.partition("  t")[0].partition("  l")[0].partition("  p")[0] for line in story.shown()] == [
        "running both",
        "  running [0]",
        "    running each",
        "      running [0]",
        "        running x",
        "  completed [1]",
        "    completed y",
    ]


def test_a_review_shows_what_it_asks_until_it_is_answered() -> None:
    story = Story()
    story.began("ask", "human_review")
    story.asks("ask", "May\n this\x1b[31m go?")
    assert "asks: May this[31m go?" in story.shown()[0]
    assert (story.tree.open_reviews(), story.tree.shown_status) == (1, "waiting")
    story.ended("ask", "human_review")
    assert "asks" not in story.shown()[0]
    assert (story.tree.open_reviews(), story.tree.shown_status) == (0, "running")


def test_what_was_stopped_is_no_failure() -> None:
    story = Story()
    story.began("a")
    story.failed("a", error=STOPPED)
    story.run("run_cancelled")
    assert story.shown() == ["cancelled a  transform · 1.00 s"]
    assert story.tree.status == "cancelled"


def test_a_run_that_is_begun_again_goes_on_inside_what_had_failed() -> None:
    story = Story()
    story.began("l", "loop")
    story.began("l[0].a")
    story.failed("l[0].a")
    story.failed("l", "loop")
    story.run("run_failed", NO)
    story.began("l[0].a", attempt=2)
    assert [line.split()[0] for line in story.shown()] == ["running", "running", "running"]
    assert (story.tree.status, story.tree.error) == ("running", None)
    story.ended("l[0].a", attempt=2)
    story.ended("l", "loop")
    story.run("run_completed")
    assert {line.split()[0] for line in story.shown()} == {"completed"}


def test_of_a_long_loop_what_goes_on_and_what_came_last_is_shown_and_all_is_counted() -> None:
    story = Story()
    story.began("l", "loop")
    for index in range(1_000):
        story.began(f"l[{index}].a")
        if index not in {3, 999}:
            story.ended(f"l[{index}].a")
    shown = story.shown()
    assert len(shown) < 25
    assert "  running [3]" in shown
    assert "  running [999]" in shown
    assert shown[-1] == "  completed and 992 completed"


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_small_screen_shows_what_is_not_done(most: int) -> None:
    story = Story()
    for number in range(30):
        story.began(f"s{number}")
        if number < 28:
            story.ended(f"s{number}")
    lines = story.shown(most)
    assert len(lines) == min(most, 3)
    assert lines[0].startswith("pending … ")
    if most >= 3:
        assert [line.split()[1] for line in lines[1:]] == ["s28", "s29"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00 s"), (9.994, "9.99 s"), (59.4, "59 s"), (125, "2 min 05 s"), (11_100, "3 h 05 min"), (-5, "0.00 s")],
)
def test_times_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(NOON, NOON + timedelta(seconds=seconds)) == text


def test_without_a_terminal_each_event_is_a_line() -> None:
    failed = RunEvent("step_failed", NOON, "each[2].a", "a", "tool", 3, error=NO)
    assert event_line(failed) == "12:00:00  failed     each[2].a (tool), attempt 3: BAD: No."
    assert event_line(RunEvent("run_completed", NOON)) == "12:00:00  completed  the run"
    asked = RunEvent("review_requested", NOON, "ask", prompt="One\n\x1b[2Jtwo")
    assert event_line(asked) == "12:00:00  asks       ask: One [2Jtwo"
    assert event_line(RunEvent("something_new", NOON)) is None
