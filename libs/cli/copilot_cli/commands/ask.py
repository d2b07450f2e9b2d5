"""`copilot ask`: one question, one answer."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from copilot_cli.options import USER_PANEL, AsJson

if TYPE_CHECKING:
    from copilot_cli.asking import Answered
    from copilot_cli.client import ApiClient, Question

_TITLE_CHARACTERS = 80

Files = Annotated[
    list[Path] | None,
    typer.Option("--file", "-f", exists=True, dir_okay=False, help="A text to answer from; repeat for several."),
]
ModelName = Annotated[str | None, typer.Option("--model", "-m", help="One of `copilot models`, or provider/model-id.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=USER_PANEL)(ask)


def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    file: Files = None,
    model: ModelName = None,
    context: Annotated[bool, typer.Option("--context", help="Answer from `copilot context` too: search it.")] = False,
    conversation: Annotated[UUID | None, typer.Option("--in", help="Go on in this conversation.")] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Show the answer as it is written.")] = True,
    as_json: AsJson = False,
) -> None:
    """Ask one question and print the answer, with its citations, cost and time."""
    from copilot_cli.answers import print_footer
    from copilot_cli.client import ApiClient, Question
    from copilot_cli.documents import read_documents
    from copilot_cli.output import print_json, printable
    from copilot_cli.places import Places

    content = sys.stdin.read() if question == "-" else question
    if not content.strip():
        raise typer.BadParameter("is empty", param_hint="question")
    asked = Question(content, read_documents(file or []), model, searches_context=context)
    with ApiClient(Places.here().remote()) as client:
        conversation_id = conversation or _new_conversation(client, content, model)
        answered = _answer(client, conversation_id, asked, streamed=stream and not as_json)
    if as_json:
        print_json(answered.message)
    else:
        if not stream:
            print(printable(answered.message.content))
        print_footer(answered.message, documents=asked.documents, seconds=answered.seconds)


def _new_conversation(client: "ApiClient", content: str, model: str | None) -> UUID:
    """With the model, so that one that does not exist is refused before anything is made."""
    from copilot_cli.answers import shorten

    return client.create_conversation(title=shorten(content, _TITLE_CHARACTERS), model=model).id


def _answer(client: "ApiClient", conversation_id: UUID, question: "Question", *, streamed: bool) -> "Answered":
    from copilot_cli.asking import ask_at_once, ask_streamed
    from copilot_cli.output import printable, working

    def show(text: str) -> None:
        sys.stdout.write(printable(text))
        sys.stdout.flush()

    if streamed:
        answered = ask_streamed(client, conversation_id, question, show)
        show("\n")
        return answered
    with working("Answering"):
        return ask_at_once(client, conversation_id, question)
