"""The kinds of steps. A new one is a module here and a line in `KINDS`."""

from collections.abc import Mapping

from copilot_domain.workflows.definition import StepType
from copilot_domain.workflows.execution.kinds.base import Kind, StepCall, Toolbox
from copilot_domain.workflows.execution.kinds.deciding import condition, loop, transform
from copilot_domain.workflows.execution.kinds.llm import llm
from copilot_domain.workflows.execution.kinds.tool import tool
from copilot_domain.workflows.execution.kinds.waiting import human_review, wait, workflow

KINDS: Mapping[StepType, Kind] = {
    "condition": condition,
    "human_review": human_review,
    "llm": llm,
    "loop": loop,
    "tool": tool,
    "transform": transform,
    "wait": wait,
    "workflow": workflow,
}

__all__ = ["KINDS", "Kind", "StepCall", "Toolbox"]
