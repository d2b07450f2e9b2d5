"""From bytes to a `Document`: what a file is, its text, and the stretches of it that are cut by one set of rules.

Runs in a capped child (`copilot_common.platform.sandbox`), which is the wall against what a document may do: a hole in
a parser, memory, time. Here work is bounded where that is cheap, and what can be refused in a sentence is.
"""

from copilot_domain.documents.extracting.registry import extract, warm_up

__all__ = ["extract", "warm_up"]
