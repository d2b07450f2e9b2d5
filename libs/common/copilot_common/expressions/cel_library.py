"""The CEL library without its command line, which its package imports too: typer, rich and prompt_toolkit would cost
each child 28 MB and 0.7 s. Only children load this."""

import sys
import types

sys.modules.setdefault("cel.cli", types.ModuleType("cel.cli"))

import cel  # noqa: E402 — it must come after the line above: that is what this module is for

__all__ = ["cel"]
