"""`copilot doctor`: what is wrong with this installation, and what to do about it."""

from typing import TYPE_CHECKING

import typer

from copilot_cli.options import OPERATOR_PANEL, AsJson

if TYPE_CHECKING:
    from copilot_cli.checks.report import Check


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=OPERATOR_PANEL)(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, row-level security, Redis, providers, sandbox. Exits with 1 if there is work to do."""
    import asyncio

    from copilot_cli.checks.running import run_checks
    from copilot_cli.output import print_json, working
    from copilot_cli.places import Places

    with working("Examining"):
        checks = asyncio.run(run_checks(Places.here()))
    healthy = all(check.status != "fail" for check in checks)
    if as_json:
        print_json({"ok": healthy, "checks": checks})
    else:
        print_checks(checks)
    raise typer.Exit(0 if healthy else 1)


def print_checks(checks: "list[Check]") -> None:
    """One line each, and below it what to do."""
    from rich.text import Text

    from copilot_cli.output import console, printable

    marks = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}
    width = max(len(check.name) for check in checks)
    out = console()
    for check in checks:
        mark, style = marks[check.status]
        line = Text.assemble((f"{mark} {check.name:<{width}}", style), f"  {printable(check.finding)}")
        if check.advice:
            line.append(
                f"\n  {'':<{width}}  → {printable(check.advice)}", style="bold" if check.status == "fail" else ""
            )
        out.print(line, soft_wrap=True)
