"""Steps that only decide: conditions, and what loops ask."""

from typing import cast

from copilot_common.expressions.source import Cel
from copilot_domain.workflows.definition import ConditionConfig, LoopConfig, TransformConfig
from copilot_domain.workflows.execution.kinds.base import StepCall
from copilot_domain.workflows.execution.outcomes import Done, Failed, Outcome
from copilot_domain.workflows.state import Checked, Chosen, Counted


async def transform(call: StepCall) -> Outcome:
    config = cast(TransformConfig, call.step.config)
    values = await call.evaluate(*(Cel(source) for source in config.set.values()))
    return Done(dict(zip(config.set, values, strict=True)))


async def condition(call: StepCall) -> Outcome:
    """All branches are evaluated: one that fails does so whichever is taken."""
    config = cast(ConditionConfig, call.step.config)
    holds = await call.evaluate(*(Cel(branch.when) for branch in config.branches))
    for branch, value in zip(config.branches, holds, strict=True):
        if not isinstance(value, bool):
            return Failed("NOT_A_BOOLEAN", f"`when` of the branch to {branch.next} gave no boolean.")
    chosen = next((branch.next for branch, value in zip(config.branches, holds, strict=True) if value), None)
    chosen = chosen or config.otherwise
    return Done({"next": chosen}, Chosen(chosen))


async def loop(call: StepCall) -> Outcome:
    """How many iterations there are (`over`), or whether there is one more (`while`)."""
    config = cast(LoopConfig, call.step.config)
    if config.over is not None:
        items = await call.places.items(call.path, config.over)
        if items is None:
            return Failed("NOT_A_LIST", "`over` gave no list.")
        return Done(decision=Counted(len(items)))
    (goes_on,) = await call.evaluate(Cel(config.while_ or ""))
    if not isinstance(goes_on, bool):
        return Failed("NOT_A_BOOLEAN", "`while` gave no boolean.")
    return Done(decision=Checked(goes_on))
