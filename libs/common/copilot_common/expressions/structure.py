"""JSON whose strings are expressions."""

from dataclasses import dataclass, field
from typing import Self

from copilot_common.expressions.source import Expression, read


@dataclass(frozen=True, slots=True)
class Structure:
    """`expressions` in the order of the value, `paths` where each stands (`body.items[0]`; "" is the value itself).
    Keys of objects are no expressions."""

    value: object
    expressions: list[Expression] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, value: object) -> Self:
        """Raises RecursionError where it is nested too deeply."""
        made = cls(value)
        made._collect(value, "")
        return made

    def filled(self, values: list[object]) -> object:
        """The same value with the values of its expressions, which are in the order of `expressions`."""
        rest = iter(values)

        def fill(value: object) -> object:
            if isinstance(value, str):
                found = read(value)
                return found if isinstance(found, str) else next(rest)
            if isinstance(value, dict):
                return {key: fill(each) for key, each in value.items()}
            if isinstance(value, list | tuple):
                return [fill(each) for each in value]
            return value

        return fill(self.value)

    def _collect(self, value: object, path: str) -> None:
        if isinstance(value, str):
            found = read(value)
            if not isinstance(found, str):
                self.expressions.append(found)
                self.paths.append(path)
        elif isinstance(value, dict):
            for key, each in value.items():
                self._collect(each, f"{path}.{key}" if path else str(key))
        elif isinstance(value, list | tuple):
            for index, each in enumerate(value):
                self._collect(each, f"{path}[{index}]")
