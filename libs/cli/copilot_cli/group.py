"""The command group that turns every error into one line and an exit code: 1 failed, 2 wrong usage, 130 interrupted."""

from typing import Any

from typer import Context, Exit
from typer.core import TyperGroup


class CopilotGroup(TyperGroup):
    """`--debug` lets the exception through, with its traceback."""

    def invoke(self, ctx: Context) -> Any:  # type: ignore[override]  # typer vendors click's Context without exporting it
        try:
            return super().invoke(ctx)
        except Exception as error:
            if _is_handled_by_typer(error) or ctx.params.get("debug"):
                raise
            from copilot_cli.failures import describe
            from copilot_cli.output import note

            note(describe(error), style="red")
            raise Exit(1) from None


def _is_handled_by_typer(error: Exception) -> bool:
    """Its exits and usage errors carry their exit code; a reader that went away (`| head`) is no failure of ours."""
    from typer import Abort

    return isinstance(error, Abort | BrokenPipeError) or hasattr(error, "exit_code")
