"""Reviews that a run waits for: shown, and answered."""

import sys
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import typer

from copilot_cli.client import ApiClient
from copilot_cli.client.run_types import Review
from copilot_cli.definitions import encoded
from copilot_cli.output import cell, note, printable

Decision = Literal["approve", "reject"]

_MOST_REVIEWS = 10_000


def answer_reviews(
    client: ApiClient, run_id: UUID, *, decision: Decision | None, comment: str | None, review_id: UUID | None
) -> None:
    """Those that are open, or the one. Without `decision` a person at the terminal is asked."""
    opened = [each for each in client.runs.reviews(run_id, _MOST_REVIEWS) if each.decision is None]
    if review_id is not None:
        opened = [each for each in opened if each.id == review_id]
    if not opened or client.runs.show(run_id).completed_at is not None:
        note("This run asks nothing." if review_id is None else "This review is not open.", style="red")
        raise typer.Exit(1)
    if decision is not None and len(opened) > 1:
        _show(opened)
        note(
            "Several reviews are open: say which by --review, or answer one after the other without --approve.",
            style="red",
        )
        raise typer.Exit(1)
    for review in opened:
        _show([review])
        _answer(client, run_id, review, decision, comment)


def _answer(client: ApiClient, run_id: UUID, review: Review, decision: Decision | None, comment: str | None) -> None:
    if decision is None:
        if not sys.stdin.isatty():
            note("Nobody is here to ask: --approve or --reject.", style="red")
            raise typer.Exit(1)
        decision, asked = _asked()
        comment = comment if comment is not None else asked
    client.runs.answer(run_id, review.id, decision, comment)
    shown = next(each for each in client.runs.reviews(run_id, _MOST_REVIEWS) if each.id == review.id)
    if shown.decision != decision:
        note(f"Somebody was faster: {shown.decision}.", style="yellow")
        return
    print("Approved." if decision == "approve" else "Rejected.")


def _asked() -> tuple[Decision, str | None]:
    answer = ""
    while answer not in {"a", "approve", "r", "reject"}:
        answer = typer.prompt("Approve or reject? [a/r]", err=True).strip().lower()
    comment = typer.prompt("Comment", default="", show_default=False, err=True).strip()
    return "approve" if answer.startswith("a") else "reject", comment or None


def _show(reviews: Sequence[Review]) -> None:
    for review in reviews:
        due = f", until {cell(review.due_at)}" if review.due_at else ""
        note(printable(f"{review.step} asks{due}  (review {review.id})"), style="bold")
        note(printable(review.prompt))
        if review.data is not None:
            note(printable(encoded(review.data)))
