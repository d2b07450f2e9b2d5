"""Every template and expression of a definition, with its place.

In a template place a text that begins with `=` is CEL, one that begins with `==` is itself without the first `=`, and
one without template marks is itself too: neither of the two is listed.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from copilot_common.expressions.source import Cel, Template, read
from copilot_domain.workflows.definition import (
    ConditionConfig,
    Config,
    Definition,
    HumanReviewConfig,
    LlmConfig,
    LoopConfig,
    ToolConfig,
    TransformConfig,
    WaitConfig,
    WorkflowConfig,
)
from copilot_domain.workflows.validation.fields import field_path

CONCURRENCY_KEY = "concurrency.key"
"""The path of an expression that is made before any step."""

ExpressionKind = Literal["cel", "template"]


class Expression(NamedTuple):
    """`source` is what stands in the definition, of CEL in a template place without its `=`."""

    path: str
    source: str
    kind: ExpressionKind

    @property
    def parsed(self) -> Cel | Template:
        return Cel(self.source) if self.kind == "cel" else Template(self.source)


def expressions_of(definition: Definition) -> list[Expression]:
    found = [
        expression
        for index, step in enumerate(definition.steps)
        for expression in _of_config(step.config, f"steps[{index}].config")
    ]
    if definition.concurrency is not None:
        found.extend(_template(CONCURRENCY_KEY, definition.concurrency.key))
    return found


def _of_config(config: Config, path: str) -> Iterator[Expression]:
    match config:
        case LlmConfig():
            yield from _of_llm(config, path)
        case ToolConfig():
            yield from _inside(f"{path}.arguments", config.arguments)
        case ConditionConfig():
            for index, branch in enumerate(config.branches):
                yield from _cel(f"{path}.branches[{index}].when", branch.when)
        case LoopConfig():
            yield from _cel(f"{path}.over", config.over)
            yield from _cel(f"{path}.while", config.while_)
        case HumanReviewConfig():
            yield from _template(f"{path}.prompt", config.prompt)
            yield from _inside(f"{path}.data", config.data)
        case WaitConfig():
            yield from _template(f"{path}.seconds", config.seconds if isinstance(config.seconds, str) else None)
            yield from _template(f"{path}.until", config.until)
        case TransformConfig():
            for name, source in config.set.items():
                yield from _cel(field_path(f"{path}.set", name), source)
        case WorkflowConfig():
            yield from _inside(f"{path}.inputs", config.inputs)
        case _:  # a `parallel` has none
            pass


def _of_llm(config: LlmConfig, path: str) -> Iterator[Expression]:
    yield from _template(f"{path}.prompt", config.prompt)
    yield from _template(f"{path}.system", config.system)
    yield from _cel(f"{path}.messages", config.messages)
    if config.context is not None:
        yield from _template(f"{path}.context.query", config.context.query)


def _inside(path: str, value: object) -> Iterator[Expression]:
    """Of every text in a JSON value; names of its fields are no templates."""
    match value:
        case str():
            yield from _template(path, value)
        case dict():
            for name, inner in value.items():
                yield from _inside(field_path(path, name), inner)
        case list():
            for index, inner in enumerate(value):
                yield from _inside(f"{path}[{index}]", inner)
        case _:
            pass


def _cel(path: str, source: str | None) -> Iterator[Expression]:
    if source is not None:
        yield Expression(path, source, "cel")


def _template(path: str, source: str | None) -> Iterator[Expression]:
    """Nothing where the text is itself."""
    match read(source or ""):
        case Cel(source=cel):
            yield Expression(path, cel, "cel")
        case Template(source=template):
            yield Expression(path, template, "template")
        case _:
            pass
