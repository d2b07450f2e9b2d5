"""What a run's events say of it, as a tree of steps, and the lines that show it on a screen of any height."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from copilot_cli.client.run_types import RunError, RunEvent
from copilot_cli.output import printable

_INDEX = re.compile(r"\[(\d+)\]$")
_SHOWN_PARTS = 8  # of a loop; the others are counted
_KEPT_PARTS = 64  # of a loop, with their steps
_ERROR_CHARACTERS = 160
_GOING_ON = frozenset({"running", "waiting"})
_UNWELL = ("failed", "waiting", "running", "cancelled")

SYMBOLS = {"completed": "✓", "running": "●", "waiting": "◌", "failed": "✗", "cancelled": "–", "pending": "·"}
STYLES = {
    "completed": "green", "running": "blue", "waiting": "yellow", "failed": "red", "cancelled": "dim", "pending": "dim",
}  # fmt: skip


@dataclass(slots=True)
class Node:
    """A step; or a branch or an iteration of one, which has no `type` and is as its steps are. `children` by step id or
    index; `dropped`: how many parts that had ended are no longer kept, by status."""

    name: str
    type: str = ""
    own_status: str = "running"
    attempt: int = 1
    began: datetime | None = None
    ended: datetime | None = None
    error: RunError | None = None
    asks: str | None = None
    children: "dict[str, Node]" = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def status(self) -> str:
        if self.type:
            return self.own_status
        found = {child.status for child in self.children.values()}
        return next((status for status in _UNWELL if status in found), "completed")

    @property
    def has_parts(self) -> bool:
        return self.type in {"loop", "parallel"}


@dataclass(frozen=True, slots=True)
class Line:
    depth: int
    status: str
    text: str
    detail: str = ""
    error: str = ""


class RunTree:
    """Fed with events in their order."""

    def __init__(self) -> None:
        self.status = "pending"
        self.error: RunError | None = None
        self.outputs: object = None
        self.began: datetime | None = None
        self.ended: datetime | None = None
        self._root = Node("", "run", own_status="")

    def take(self, event: RunEvent) -> None:
        if event.is_of_run:
            self._take_run(event)
        elif event.type == "review_requested":
            self._node(event.path).asks = event.prompt
        elif event.status is not None and event.path:
            self.status, self.ended, self.error = "running", None, None
            self._take_step(event, event.status)

    @property
    def shown_status(self) -> str:
        """`waiting` where nothing else goes on."""
        if self.status != "running":
            return self.status
        going_on = {node.own_status for node in _all(self._root) if node.type and not node.children}
        return "waiting" if "waiting" in going_on and "running" not in going_on else "running"

    def open_reviews(self) -> int:
        return sum(1 for node in _all(self._root) if node.own_status == "waiting" and node.asks is not None)

    def lines(self, now: datetime, most: int | None = None) -> list[Line]:
        """`most`: how many there may be; then what has completed is left out first, and then the beginning."""
        lines = list(self._lines(self._root, 0, now))
        if most is None or len(lines) <= most:
            return lines
        kept = [line for line in lines if line.status != "completed"]
        kept = kept[-(most - 1) :] if most > 1 else []
        return [Line(0, "pending", f"… {len(lines) - len(kept)} more"), *kept]

    def _take_run(self, event: RunEvent) -> None:
        self.status = "running" if event.status == "started" else event.status or self.status
        self.error, self.outputs = event.error, event.outputs
        if event.type == "run_started":
            self.began = event.at
        else:
            self.ended = event.at

    def _take_step(self, event: RunEvent, status: str) -> None:
        node = self._node(event.path)
        node.name, node.type, node.attempt = event.step, event.step_type, event.attempt
        if status == "started":
            waits = event.step_type in {"human_review", "wait", "workflow"}
            node.own_status, node.began, node.ended, node.error = (
                "waiting" if waits else "running",
                event.at,
                None,
                None,
            )
        else:
            was_stopped = event.error is not None and event.error.code == "CANCELLED"
            node.own_status, node.ended, node.asks = "cancelled" if was_stopped else status, event.at, None
            node.error = None if was_stopped else event.error

    def _node(self, path: str) -> Node:
        """And those around it, which go on: after a retry also where they had failed."""
        node = self._root
        for segment in path.split("."):
            name, index = segment, None
            if match := _INDEX.search(segment):
                name, index = segment[: match.start()], match[1]
            node = node.children.setdefault(name, Node(name, "step"))
            if index is not None:
                node.own_status, node.error, node.ended = "running", None, None
                _make_room(node)
                node = node.children.setdefault(index, Node(index))
        return node

    def _lines(self, node: Node, depth: int, now: datetime) -> Iterator[Line]:
        for child in node.children.values():
            yield _line(child, depth, now)
            if child.has_parts:
                yield from self._parts(child, depth + 1, now)

    def _parts(self, node: Node, depth: int, now: datetime) -> Iterator[Line]:
        shown = _shown_parts(node)
        for index in shown:
            part = node.children[index]
            yield Line(depth, part.status, f"[{index}]")
            yield from self._lines(part, depth + 1, now)
        hidden = node.dropped + Counter(part.status for index, part in node.children.items() if index not in shown)
        if hidden.total():
            told = ", ".join(f"{count} {status}" for status, count in hidden.items())
            yield Line(depth, "completed" if set(hidden) == {"completed"} else "pending", f"and {told}")


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children.values():
        yield from _all(child)


def _shown_parts(node: Node) -> list[str]:
    """What is not well or goes on comes first, then what came last."""
    going_on = [index for index, part in node.children.items() if part.status != "completed"]
    done = [index for index, part in node.children.items() if part.status == "completed"]
    room = max(0, _SHOWN_PARTS - len(going_on))
    return sorted(going_on[-_SHOWN_PARTS:] + (done[-room:] if room else []), key=int)


def _make_room(node: Node) -> None:
    """A loop of thousands is watched without keeping all of it."""
    if len(node.children) < _KEPT_PARTS:
        return
    over = [(index, part.status) for index, part in node.children.items() if part.status not in _GOING_ON]
    for index, status in over[:-_SHOWN_PARTS]:
        del node.children[index]
        node.dropped[status] += 1


def _line(node: Node, depth: int, now: datetime) -> Line:
    details = [node.type] if node.type != "step" else []
    if node.began is not None and (node.ended or node.own_status in _GOING_ON):
        details.append(duration(node.began, node.ended or now))
    if node.attempt > 1:
        details.append(f"attempt {node.attempt}")
    if node.asks is not None and node.own_status == "waiting":
        details.append(f"asks: {_short(node.asks)}")
    error = "" if node.error is None else f"{node.error.code}: {_short(node.error.message)}"
    return Line(depth, node.own_status, node.name, " · ".join(details), error)


def duration(began: datetime, ended: datetime) -> str:
    """`0.31 s`, `2 min 05 s`, `3 h 04 min`."""
    seconds = max(0.0, (ended - began).total_seconds())
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {int(seconds) % 60:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _ERROR_CHARACTERS else line[: _ERROR_CHARACTERS - 1] + "…"


def utc_now() -> datetime:
    return datetime.now(UTC)
