"""The configuration of each type of step."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from copilot_common.expressions.source import read
from copilot_domain.workflows.mcp_servers.names import PREFIX, TOOL_RULE, parse_tool
from copilot_domain.workflows.validation.faults import Faults, inside
from copilot_domain.workflows.validation.fields import (
    Check,
    field_path,
    json_schema,
    listed,
    mapping,
    named,
    number,
    one_given,
    one_of,
    shape,
    text,
    uuid,
    whole,
)

MAX_BRANCHES: Final = 50
MAX_LISTED: Final = 200  # steps of one branch or body, ways of one condition: as many as there can be steps
MAX_WAIT_MS: Final = 2_592_000_000  # 30 days
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_More = Callable[[dict[str, object], str, Faults], None]


def is_computed(value: str) -> bool:
    """Whether a text of a template place is known only when the step runs."""
    return not isinstance(read(value), str)


def _both(check: Check, more: _More) -> Check:
    def checked(value: object, path: str, faults: Faults) -> None:
        check(value, path, faults)
        if isinstance(value, dict):
            more(value, path, faults)

    return checked


# llm


def _no_tools(value: object, path: str, faults: Faults) -> None:
    if not isinstance(value, list):
        faults.add(path, "must be a list")
    elif value:
        faults.add(path, "are not available until the agent loop exists")


_CONTEXT = shape(
    {
        "query": text(),
        "item_ids": listed(uuid, maximum=100),
        "collection_ids": listed(uuid, maximum=100),
        "limit": whole(1, 50),
    },
    nullable=("query", "item_ids", "collection_ids"),
)

_LLM = _both(
    shape(
        {
            "prompt": text(),
            "messages": text(),
            "system": text(),
            "model": text(maximum=200),
            "temperature": number(0, 2),
            "max_tokens": whole(1, 2**31 - 1),
            "output_schema": json_schema,
            "context": _CONTEXT,
            "tools": _no_tools,
        },
        nullable=(
            "prompt",
            "messages",
            "system",
            "model",
            "temperature",
            "max_tokens",
            "output_schema",
            "context",
        ),
    ),
    lambda config, path, faults: one_given(config, path, faults, "prompt", "messages"),
)


# tool


def _http_request(arguments: dict[str, object], path: str, faults: Faults) -> None:
    method, url = arguments.get("method"), arguments.get("url")
    _required_text(arguments, "method", path, faults)
    _required_text(arguments, "url", path, faults)
    if isinstance(method, str) and not is_computed(method) and method.upper() not in _METHODS:
        faults.add(field_path(path, "method"), f"must be one of {', '.join(_METHODS)}")
    if isinstance(url, str) and not is_computed(url) and not url.lower().startswith(("http://", "https://")):
        faults.add(field_path(path, "url"), "must begin with https:// or http://")


def _context_search(arguments: dict[str, object], path: str, faults: Faults) -> None:
    _required_text(arguments, "query", path, faults)


def _required_text(arguments: dict[str, object], name: str, path: str, faults: Faults) -> None:
    if name not in arguments:
        faults.add(field_path(path, name), "is required")
    else:
        text()(arguments[name], field_path(path, name), faults)


TOOLS: Mapping[str, _More] = {"http.request": _http_request, "context.search": _context_search}
"""By name, what can be said of a tool's arguments before it runs. Of an MCP server's tools nothing can be said: the
server may be registered later, and changes its tools when it likes."""


def _tool(config: dict[str, object], path: str, faults: Faults) -> None:
    name, arguments = config.get("tool"), config.get("arguments", {})
    if not isinstance(name, str):
        return
    if name.startswith(PREFIX):
        if parse_tool(name) is None:
            faults.add(field_path(path, "tool"), TOOL_RULE)
    elif name not in TOOLS:
        faults.add(field_path(path, "tool"), f"must be one of {', '.join(TOOLS)}, mcp:<server>/<tool>")
    elif isinstance(arguments, dict):
        TOOLS[name](arguments, field_path(path, "arguments"), faults)


_TOOL = _both(shape({"tool": text(maximum=300), "arguments": mapping}, required=("tool",)), _tool)


# Branches and loops


def reference(value: object, path: str, faults: Faults) -> None:
    """That the step is there, the structure tells."""
    if not isinstance(value, str):
        faults.add(path, "must be the id of a step, a text")


_CONDITION = shape(
    {
        "branches": listed(shape({"when": text(), "next": reference}, required=("when", "next")), 1, MAX_LISTED),
        "else": reference,
    },
    required=("branches",),
    nullable=("else",),
)


def _join(value: object, path: str, faults: Faults) -> None:
    if isinstance(value, dict):
        shape({"count": whole(1, MAX_BRANCHES)}, required=("count",))(value, path, faults)
    elif value not in ("all", "any"):
        faults.add(path, "must be all, any or {count: how many branches}")


def _join_fits(config: dict[str, object], path: str, faults: Faults) -> None:
    join, branches = config.get("join"), config.get("branches")
    count = join.get("count") if isinstance(join, dict) else None
    if isinstance(count, int) and isinstance(branches, list) and count > len(branches) > 0:
        faults.add(inside(path, "join.count"), f"must be from 1 to the number of branches, {len(branches)}")


_PARALLEL = _both(
    shape(
        {
            "branches": listed(listed(reference, 1, MAX_LISTED), 1, MAX_BRANCHES),
            "join": _join,
            "on_branch_error": one_of("fail", "continue"),
        },
        required=("branches",),
    ),
    _join_fits,
)


def _loop(config: dict[str, object], path: str, faults: Faults) -> None:
    one_given(config, path, faults, "over", "while", "times")
    concurrency, times, most = config.get("concurrency"), config.get("times"), config.get("max_iterations", 1_000)
    if config.get("while") is not None and isinstance(concurrency, int) and concurrency != 1:
        faults.add(field_path(path, "concurrency"), "must be 1 with while")
    if isinstance(times, int) and isinstance(most, int) and times > most:
        faults.add(field_path(path, "times"), f"must be at most max_iterations, {most}")


_LOOP = _both(
    shape(
        {
            "over": text(),
            "while": text(),
            "times": whole(0, 10_000),
            "body": listed(reference, 1, MAX_LISTED),
            "concurrency": whole(1, 50),
            "max_iterations": whole(1, 10_000),
        },
        required=("body",),
        nullable=("over", "while", "times"),
    ),
    _loop,
)


# The others

_HUMAN_REVIEW = shape(
    {
        "prompt": text(),
        "data": mapping,
        "timeout_ms": whole(1, MAX_WAIT_MS),
        "on_timeout": one_of("fail", "approve", "reject"),
    },
    required=("prompt",),
    nullable=("data", "timeout_ms"),
)


def _seconds(value: object, path: str, faults: Faults) -> None:
    if isinstance(value, str):
        text()(value, path, faults)
        if value and not is_computed(value):
            faults.add(path, "must be a number, or an expression for one")
    else:
        number(0, MAX_WAIT_MS / 1_000)(value, path, faults)


def _until(value: object, path: str, faults: Faults) -> None:
    text()(value, path, faults)
    if isinstance(value, str) and value and not is_computed(value) and not _is_moment(value):
        faults.add(path, "must be a time with its offset from UTC, like 2026-01-31T00:00:00Z")


def _is_moment(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_WAIT = _both(
    shape({"seconds": _seconds, "until": _until}, nullable=("seconds", "until")),
    lambda config, path, faults: one_given(config, path, faults, "seconds", "until"),
)


def _set_names(config: dict[str, object], path: str, faults: Faults) -> None:
    names = config.get("set")
    for name in names if isinstance(names, dict) else ():
        if not _NAME.fullmatch(name):
            where = field_path(field_path(path, "set"), name)
            faults.add(where, "must have a name of up to 64 letters, digits and _, that does not begin with a digit")


_TRANSFORM = _both(shape({"set": named(text(), 1, 100)}, required=("set",)), _set_names)

_WORKFLOW = shape({"workflow_id": uuid, "inputs": mapping}, required=("workflow_id",))

CONFIG_CHECKS: dict[str, Check] = {
    "llm": _LLM,
    "tool": _TOOL,
    "condition": _CONDITION,
    "parallel": _PARALLEL,
    "loop": _LOOP,
    "human_review": _HUMAN_REVIEW,
    "wait": _WAIT,
    "transform": _TRANSFORM,
    "workflow": _WORKFLOW,
}
