"""Which steps' values an expression may use, so that only those are read and sent. Nothing is evaluated.

Conservative: whatever could be used is in; where that can't be told (`steps[inputs.x]`, `steps` itself), it is ALL.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Self, get_args

from copilot_common.expressions.source import MAX_SOURCE_CHARS, NAMES, Cel, Expression
from copilot_common.expressions.structure import Structure
from copilot_common.expressions.tokens import END, Kind, Token, of_cel, of_template

Part = Literal["output", "outputs", "error"]
PARTS: Final[frozenset[Part]] = frozenset(get_args(Part))
# What a template reaches on a dict of its own accord: `steps.items` is every step, not the one called `items`.
_METHODS: Final = frozenset(dir(dict))
# Names after which a dot begins a name of the top level (CEL's `in .steps`), and is no access to a part of theirs.
_OPERATORS: Final = frozenset({"in", "and", "or", "not", "is", "if", "else", "elif"})


class Every(Enum):
    ALL = "all"


ALL: Final = Every.ALL
Steps = Mapping[str, frozenset[Part]] | Literal[Every.ALL]


@dataclass(frozen=True, slots=True)
class References:
    """`steps`: by the step's id, the parts of it; `names`: of NAMES, which it uses."""

    steps: Steps
    names: frozenset[str]

    @classmethod
    def none(cls) -> Self:
        return cls({}, frozenset())

    def __or__(self, other: "References") -> "References":
        names = self.names | other.names
        if self.steps is ALL or other.steps is ALL:
            return References(ALL, names)
        steps = dict(self.steps)
        for step, parts in other.steps.items():
            steps[step] = steps.get(step, frozenset()) | parts
        return References(steps, names)


_EVERYTHING: Final = References(ALL, NAMES)


def references(expression: Expression) -> References:
    """Linear in the source. One that is too long to be evaluated, or malformed, refers to everything."""
    if len(expression.source) > MAX_SOURCE_CHARS:
        return _EVERYTHING
    tokens = of_cel(expression.source) if isinstance(expression, Cel) else of_template(expression.source)
    return _EVERYTHING if tokens is None else _Reader(tokens).read()


def references_of_all(expressions: Iterable[Expression]) -> References:
    found = References.none()
    for expression in expressions:
        found |= references(expression)
    return found


def references_of_structure(value: object) -> References:
    """Of every string in it that is an expression. Raises RecursionError where it is nested too deeply."""
    return references_of_all(Structure.of(value).expressions)


class _Reader:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._steps: dict[str, frozenset[Part]] = {}
        self._names: set[str] = set()

    def read(self) -> References:
        is_all = False
        for position, token in enumerate(self._tokens):
            if token.kind is not Kind.NAME:
                continue
            if not token.text.isascii():
                # Python and with it Jinja take some letters for others (`ｓ` for `s`).
                return _EVERYTHING
            if token.text in NAMES and not self._is_part(position):
                self._names.add(token.text)
                is_all = (token.text == "steps" and not self._read_step(position + 1)) or is_all
        return References(ALL if is_all else self._steps, frozenset(self._names))

    def _read_step(self, position: int) -> bool:
        """What follows on `steps`; False where it isn't one step."""
        step, position = self._read_key(position)
        if step is None or step in _METHODS or self._at(position).text == "(":
            return False
        part, behind = self._read_key(position)
        known: frozenset[Part] = frozenset(each for each in PARTS if each == part and self._at(behind).text != "(")
        self._steps[step] = self._steps.get(step, frozenset()) | (known or PARTS)
        return True

    def _read_key(self, position: int) -> tuple[str | None, int]:
        """`.name`, `["name"]`, and the position behind; None for anything else."""
        first, second, third = (self._at(position + offset) for offset in range(3))
        if _is_sign(first, ".") and second.kind is Kind.NAME:
            return second.text, position + 2
        if _is_sign(first, "[") and second.kind is Kind.STRING and _is_sign(third, "]"):
            return second.text, position + 3
        return None, position

    def _is_part(self, position: int) -> bool:
        """`inputs.steps` is a part of the inputs; a dot that follows on nothing begins a name."""
        if not _is_sign(self._at(position - 1), "."):
            return False
        before = self._at(position - 2)
        if before.kind is Kind.NAME:
            return before.text not in _OPERATORS
        return before.kind in (Kind.STRING, Kind.COMPUTED) or before.text in (")", "]", "}")

    def _at(self, position: int) -> Token:
        return self._tokens[position] if 0 <= position < len(self._tokens) else END


def _is_sign(token: Token, sign: str) -> bool:
    return token.kind is Kind.OTHER and token.text == sign
