"""The parent's side: expressions in, values out."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from copilot_common.expressions.errors import ExpressionCode, ExpressionFailed
from copilot_common.expressions.source import MAX_SOURCE_CHARS, Expression
from copilot_common.expressions.structure import Structure
from copilot_common.expressions.wire import (
    Check,
    Checked,
    Evaluate,
    Failed,
    ReadValues,
    Request,
    decode_reply,
    encode_request,
)
from copilot_common.platform.sandbox.errors import KillReason, SandboxKilled
from copilot_common.platform.sandbox.limits import Limits
from copilot_common.platform.sandbox.pool import Sandbox

ENTRY: Final = "copilot_common.expressions.child:run"
LIMITS: Final = Limits(
    memory_bytes=256 * 2**20,  # what 10 MB of JSON with a million values take as Python's and as CEL's values
    wall_seconds=2.0,  # a million values of data take 1 s to hand to CEL, an everyday expression 0.1 ms
    cpu_seconds=2,
    open_files=0,
    output_bytes=8 * 2**20,
)
_MAX_REQUEST_BYTES: Final = 32 * 2**20
_KILLED: Final[dict[KillReason, tuple[ExpressionCode, str]]] = {
    "time": ("EXPRESSION_TIMEOUT", f"It takes longer than {LIMITS.wall_seconds:g} s."),
    "memory": ("EXPRESSION_TOO_LARGE", "It needs more memory than it may have."),
    "output": ("EXPRESSION_TOO_LARGE", f"Its value is larger than {LIMITS.output_bytes // 2**20} MB."),
    "died": ("EXPRESSION_TOO_LARGE", "It is nested too deeply, or needs more memory than it may have."),
}


def expression_sandbox(*, size: int) -> Sandbox:
    """Not started. Give it to an Evaluator; it belongs to whoever starts and stops it."""
    return Sandbox(ENTRY, size=size, limits=LIMITS)


class Evaluator:
    """Needs a started sandbox of ENTRY. Every method is one round trip and raises ExpressionFailed, and Unavailable
    where no child is free in time."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def evaluate(self, expressions: Sequence[Expression], names: Mapping[str, object]) -> list[object]:
        """Their values: text of templates, JSON values of CEL. The first that fails is raised. `names` are JSON values,
        under names of NAMES."""
        if not expressions:
            return []
        for index, expression in enumerate(expressions):
            if (sentence := _source_fault(expression.source)) is not None:
                raise ExpressionFailed(index, "EXPRESSION_INVALID", sentence)
        reply = await self._ask(Evaluate(list(expressions), dict(names)), len(expressions))
        if isinstance(reply, ReadValues) and len(reply.values) == len(expressions):
            return reply.values
        raise _unexpected(len(expressions))

    async def evaluate_structure(self, value: object, names: Mapping[str, object]) -> object:
        """The same JSON value, every string of which that is an expression has become its value (`source.read`)."""
        structure = _structure(value)
        try:
            return structure.filled(await self.evaluate(structure.expressions, names))
        except ExpressionFailed as failed:
            if failed.index is None:
                raise
            path = structure.paths[failed.index]
            raise ExpressionFailed(failed.index, failed.reason, failed.message, path=path) from None

    async def check(self, expressions: Sequence[Expression]) -> list[str | None]:
        """For each a sentence on what is wrong with its source, or None. Raises ExpressionFailed where a cap is hit."""
        sentences = [_source_fault(expression.source) for expression in expressions]
        sound = [index for index, sentence in enumerate(sentences) if sentence is None]
        if not sound:
            return sentences
        reply = await self._ask(Check([expressions[index] for index in sound]), len(sound))
        if not isinstance(reply, Checked) or len(reply.sentences) != len(sound):
            raise _unexpected(len(sound))
        for index, sentence in zip(sound, reply.sentences, strict=True):
            sentences[index] = sentence
        return sentences

    async def check_structure(self, value: object) -> dict[str, str]:
        """Path and sentence of every string that is a wrong expression."""
        structure = _structure(value)
        sentences = await self.check(structure.expressions)
        return {path: sentence for path, sentence in zip(structure.paths, sentences, strict=True) if sentence}

    async def _ask(self, request: Request, count: int) -> ReadValues | Checked:
        try:
            reply = decode_reply(await self._sandbox.call(_encode(request)))
        except SandboxKilled as killed:
            raise ExpressionFailed(_only(count), *_KILLED[killed.reason]) from None
        except RecursionError:
            raise ExpressionFailed(_only(count), "EXPRESSION_TOO_LARGE", "Its value is nested too deeply.") from None
        except msgspec.DecodeError:
            raise _unexpected(count) from None
        if isinstance(reply, Failed) and 0 <= reply.index < count:
            raise ExpressionFailed(reply.index, reply.reason, reply.message)
        if isinstance(reply, Failed):
            raise _unexpected(count)
        return reply


def _structure(value: object) -> Structure:
    try:
        return Structure.of(value)
    except RecursionError:
        raise ExpressionFailed(None, "EXPRESSION_TOO_LARGE", "The structure is nested too deeply.") from None


def _source_fault(source: str) -> str | None:
    if len(source) > MAX_SOURCE_CHARS:
        return f"It is longer than {MAX_SOURCE_CHARS} characters."
    try:
        source.encode()
    except UnicodeEncodeError:
        return "It is not valid Unicode text."
    return None


def _encode(request: Request) -> bytes:
    try:
        data = encode_request(request)
    except UnicodeEncodeError:
        raise ExpressionFailed(None, "EXPRESSION_FAILED", "The data holds text that is not valid Unicode.") from None
    except RecursionError:
        raise ExpressionFailed(None, "EXPRESSION_TOO_LARGE", "The data is nested too deeply.") from None
    if len(data) > _MAX_REQUEST_BYTES:
        raise ExpressionFailed(
            None, "EXPRESSION_TOO_LARGE", f"The data is larger than {_MAX_REQUEST_BYTES // 2**20} MB."
        )
    return data


def _only(count: int) -> int | None:
    return 0 if count == 1 else None


def _unexpected(count: int) -> ExpressionFailed:
    """A child that does not keep to the protocol is no child of ours any more."""
    return ExpressionFailed(_only(count), "EXPRESSION_FAILED", "It could not be evaluated.")
