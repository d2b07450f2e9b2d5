"""Evaluating expressions at a place in a run, with the names they use and no others."""

from collections.abc import Mapping, Sequence

from copilot_common.expressions.evaluator import Evaluator
from copilot_common.expressions.references import References, references_of_all, references_of_structure
from copilot_common.expressions.source import Cel, Template
from copilot_domain.workflows.definition import LoopConfig
from copilot_domain.workflows.execution.names import StepNames
from copilot_domain.workflows.program import Program
from copilot_domain.workflows.state import Path


class Places:
    """Of one run. `items`: by path of a loop, what it goes over."""

    def __init__(
        self, program: Program, steps: StepNames, evaluator: Evaluator, inputs: object, run: Mapping[str, object]
    ) -> None:
        self._program = program
        self._steps = steps
        self._evaluator = evaluator
        self._fixed = {"inputs": inputs, "run": run}
        self._items: dict[Path, list[object]] = {}

    async def evaluate(self, place: Path, expressions: Sequence[Template | Cel]) -> list[object]:
        """Raises ExpressionFailed."""
        names = await self._names(place, references_of_all(expressions))
        return await self._evaluator.evaluate(expressions, names)

    async def fill(self, place: Path, structure: object) -> object:
        """JSON with its templates and expressions evaluated. Raises ExpressionFailed."""
        names = await self._names(place, references_of_structure(structure))
        return await self._evaluator.evaluate_structure(structure, names)

    async def items(self, loop: Path, over: str) -> list[object] | None:
        """What a loop goes over; None where it is no list. The same at every time: what it is made of has ended."""
        if loop not in self._items:
            (found,) = await self.evaluate(loop, [Cel(over)])
            if not isinstance(found, list):
                return None
            self._items[loop] = found
        return self._items[loop]

    def forget_items(self, loop: Path) -> None:
        self._items.pop(loop, None)

    async def _names(self, place: Path, wanted: References) -> dict[str, object]:
        names: dict[str, object] = {name: value for name, value in self._fixed.items() if name in wanted.names}
        if "item" in wanted.names or "index" in wanted.names:
            names |= await self._iteration(place)
        if "steps" in wanted.names:
            names["steps"] = await self._steps.see(place, wanted.steps)
        return names

    async def _iteration(self, place: Path) -> dict[str, object]:
        """Of the innermost loop."""
        for position in range(len(place) - 1, -1, -1):
            if place[position] == "]":
                begin = place.rindex("[", 0, position)
                loop, index = place[:begin], int(place[begin + 1 : position])
                config = self._program.steps[loop.rpartition(".")[2]].config
                if isinstance(config, LoopConfig):
                    names: dict[str, object] = {"index": index}
                    if config.over is not None and (items := await self.items(loop, config.over)) is not None:
                        names["item"] = items[index]
                    return names
        return {}
