"""What a workflow is made of, as the wire shows it.

A text in which values are wanted is a template (`"Dear {{ inputs.name }}"`); one that begins with `=` is a CEL
expression and keeps its value's type (`"=steps.find.output.items"`). Where a field is said to be CEL, without `=`.
"""

from typing import Literal, get_args
from uuid import UUID

import msgspec

from copilot_domain.conversations.types import ContextWanted

StepType = Literal["llm", "tool", "condition", "parallel", "loop", "human_review", "wait", "transform", "workflow"]
STEP_TYPES: tuple[StepType, ...] = get_args(StepType)

Json = dict[str, object]


class _Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every step's configuration."""


class LlmConfig(_Config, frozen=True, kw_only=True):
    """`prompt`, `system`: templates. `messages`: CEL for a list of `{role, content}`, instead of `prompt`."""

    prompt: str | None = None
    messages: str | None = None
    system: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    output_schema: Json | None = None
    context: ContextWanted | None = None
    tools: list[str] = []


class ToolConfig(_Config, frozen=True, kw_only=True):
    """`arguments`: JSON in which every text is a template or an expression."""

    tool: str
    arguments: Json = {}


class Branch(_Config, frozen=True, kw_only=True):
    """`when` is CEL for a boolean; `next` a later step of the same scope."""

    when: str
    next: str


class ConditionConfig(_Config, frozen=True, kw_only=True):
    """The first branch that holds; else `else`, else what follows the condition."""

    branches: list[Branch]
    otherwise: str | None = msgspec.field(default=None, name="else")


class JoinCount(_Config, frozen=True, kw_only=True):
    count: int


class ParallelConfig(_Config, frozen=True, kw_only=True):
    """Each branch is the ids of its steps, in order. `join`: how many branches must complete; the rest is cancelled."""

    branches: list[list[str]]
    join: Literal["all", "any"] | JoinCount = "all"
    on_branch_error: Literal["fail", "continue"] = "fail"


class LoopConfig(_Config, frozen=True, kw_only=True):
    """One of `over` (CEL for a list), `while` (CEL for a boolean, before each iteration) and `times`. `concurrency`:
    how many iterations at once; not with `while`. More than `max_iterations` fail the step."""

    over: str | None = None
    while_: str | None = msgspec.field(default=None, name="while")
    times: int | None = None
    body: list[str]
    concurrency: int = 1
    max_iterations: int = 1_000


class HumanReviewConfig(_Config, frozen=True, kw_only=True):
    prompt: str
    data: Json | None = None
    timeout_ms: int | None = None
    on_timeout: Literal["fail", "approve", "reject"] = "fail"


class WaitConfig(_Config, frozen=True, kw_only=True):
    """One of the two. `seconds`: a number, or an expression for one. `until`: a template for an RFC 3339 moment."""

    seconds: float | str | None = None
    until: str | None = None


class TransformConfig(_Config, frozen=True, kw_only=True):
    """Each value is CEL."""

    set: dict[str, str]


class WorkflowConfig(_Config, frozen=True, kw_only=True):
    """Another workflow's run, and its outputs. `inputs` as a tool's arguments."""

    workflow_id: UUID
    inputs: Json = {}


Config = (
    LlmConfig | ToolConfig | ConditionConfig | ParallelConfig | LoopConfig | HumanReviewConfig | WaitConfig
    | TransformConfig | WorkflowConfig
)  # fmt: skip

CONFIGS: dict[StepType, type[Config]] = {
    "llm": LlmConfig,
    "tool": ToolConfig,
    "condition": ConditionConfig,
    "parallel": ParallelConfig,
    "loop": LoopConfig,
    "human_review": HumanReviewConfig,
    "wait": WaitConfig,
    "transform": TransformConfig,
    "workflow": WorkflowConfig,
}


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The n-th pause is `backoff_ms * 2^(n-1)`, at most `max_backoff_ms`. Only what may succeed later is tried anew."""

    max_attempts: int = 1
    backoff_ms: int = 1_000
    max_backoff_ms: int = 60_000


class GoTo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    next: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """`next_steps`: at most one. In a branch or body it may be absent: the next of the list follows."""

    id: str
    name: str
    type: StepType
    config: Config
    next_steps: list[str] = []
    on_error: Literal["fail", "continue"] | GoTo = "fail"
    retry: RetryPolicy = RetryPolicy()
    timeout_ms: int | None = None


class Concurrency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many runs of a workflow at once; with `key` (a template over `inputs`), for each value of it."""

    limit: int
    on_limit: Literal["queue", "cancel_oldest", "reject"] = "queue"
    key: str | None = None


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a workflow, valid. Immutable: a run keeps the one it began with."""

    name: str
    description: str | None = None
    steps: list[Step]
    entry_point: str
    inputs_schema: Json | None = None
    concurrency: Concurrency | None = None
    priority: int = 3
    max_duration_ms: int | None = None
    metadata: Json = {}
