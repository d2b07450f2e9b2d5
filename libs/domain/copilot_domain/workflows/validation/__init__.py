"""Whether a definition is valid; where not, all that is wrong with it at once."""

from copilot_domain.workflows.definition import Definition
from copilot_domain.workflows.validation.building import build, decode, encode
from copilot_domain.workflows.validation.checking import ExpressionChecker, expression_faults
from copilot_domain.workflows.validation.expressions import Expression, ExpressionKind, expressions_of
from copilot_domain.workflows.validation.faults import MAX_FAULTS, Fault, Faults
from copilot_domain.workflows.validation.shapes import check_shapes
from copilot_domain.workflows.validation.structure import check_structure

__all__ = [
    "MAX_FAULTS",
    "Expression",
    "ExpressionChecker",
    "ExpressionKind",
    "Fault",
    "build",
    "decode",
    "encode",
    "expression_faults",
    "expressions_of",
    "validate",
]


def validate(definition: object) -> Definition | list[Fault]:
    """Of what `parse` gave. Expressions are not looked at: that takes a process of its own (`expression_faults`)."""
    faults = Faults()
    check_shapes(definition, faults)
    check_structure(definition, faults)
    if faults or not isinstance(definition, dict):
        return faults.listed()
    return build(definition)
