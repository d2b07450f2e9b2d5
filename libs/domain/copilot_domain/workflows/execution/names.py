"""What an expression sees of other steps at a place in a run: only what it uses is fetched.

A step is looked for from the inside out: in the same iteration or branch, then around it. `output` is that of the
nearest one; of a step in a loop that is over, or has not come to it in this iteration, the one that ended last.
`outputs` are those of every iteration so far. What goes on beside a place (other branches, other iterations at once) is
not seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from copilot_common.expressions.references import ALL, PARTS, Part, Steps
from copilot_domain.workflows.definition import LoopConfig
from copilot_domain.workflows.execution.outputs import Outputs
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import Path


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of one step: the paths that are meant."""

    output: Path | None
    outputs: list[Path]


class StepNames:
    """Of one run."""

    def __init__(self, program: Program, outputs: Outputs) -> None:
        self._program = program
        self._outputs = outputs

    async def see(self, place: Path, wanted: Steps) -> dict[str, dict[str, object]]:
        """The value of `steps`."""
        steps = dict.fromkeys(self._program.steps, PARTS) if wanted is ALL else wanted
        around = _around(place)
        seen = {step: self._look(step, around, parts) for step, parts in steps.items() if step in self._program.steps}
        values = await self._outputs.values(path for each in seen.values() for path in _paths(each))
        return {step: self._parts(each, steps[step], values) for step, each in seen.items()}

    def _parts(self, seen: _Seen, parts: frozenset[Part], values: dict[Path, object]) -> dict[str, object]:
        found: dict[str, object] = {}
        if "output" in parts:
            found["output"] = None if seen.output is None else values[seen.output]
        if "outputs" in parts:
            found["outputs"] = [values[path] for path in seen.outputs]
        if "error" in parts:
            found["error"] = None if seen.output is None else self._outputs.errors.get(seen.output)
        return found

    def _look(self, step_id: str, around: list[Path], parts: frozenset[Part]) -> _Seen:
        nearest = next((path for path in _nearest(step_id, around) if self._outputs.has_ended(path)), None)
        if nearest is not None and "outputs" not in parts:
            return _Seen(nearest, [])
        ended = self._outputs.order.get(step_id, [])
        loop = next((prefix for prefix in reversed(around) if self._is_within(ended, prefix)), None)
        visible = [path for path in ended if _is_visible(path, [each for each in around if each != loop])]
        outputs = sorted(visible, key=_by_indices) if "outputs" in parts else []
        if nearest is None and visible and (loop is None or self._is_sequential(loop)):
            nearest = visible[-1]
        return _Seen(nearest, outputs)

    def _is_within(self, ended: list[Path], prefix: Path) -> bool:
        """Whether a step stands in the loop of which `prefix` is an iteration."""
        frame = prefix[: prefix.rindex("[")]
        is_loop = isinstance(self._program.steps[_step_of(frame)].config, LoopConfig)
        return is_loop and bool(ended) and ended[-1].startswith(f"{frame}[")

    def _is_sequential(self, prefix: Path) -> bool:
        config = self._program.steps[_step_of(prefix[: prefix.rindex("[")])].config
        return isinstance(config, LoopConfig) and config.concurrency == 1


def _around(place: Path) -> list[Path]:
    """`a[1]` and `a[1].b[2]` for a place inside both. A loop that asks whether it goes on (`a[1]`) is not inside."""
    ends = [position for position, character in enumerate(place[:-1]) if character == "]"]
    return [place[: position + 1] for position in ends]


def _nearest(step_id: str, around: list[Path]) -> Iterable[Path]:
    """From the inside out."""
    yield from (f"{prefix}.{step_id}" for prefix in reversed(around))
    yield step_id


def _is_visible(path: Path, around: list[Path]) -> bool:
    """`each[3].check` from within `each[3]`, and `check`, but not `each[4].check`."""
    return all(path.startswith(f"{each}.") or not path.startswith(each[: each.rindex("[") + 1]) for each in around)


def _paths(seen: _Seen) -> Iterable[Path]:
    if seen.output is not None:
        yield seen.output
    yield from seen.outputs


def _step_of(path: Path) -> str:
    return path.rpartition(".")[2]


@lru_cache(maxsize=4_096)
def _by_indices(path: Path) -> tuple[int, ...]:
    return tuple(int(part.partition("]")[0]) for part in path.split("[")[1:])
