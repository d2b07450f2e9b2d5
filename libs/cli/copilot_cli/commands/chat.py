"""`copilot chat`: a conversation at the terminal."""

from typing import Annotated
from uuid import UUID

import typer

from copilot_cli.commands.ask import Files, ModelName
from copilot_cli.options import USER_PANEL


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=USER_PANEL)(chat)


def chat(
    file: Files = None,
    model: ModelName = None,
    conversation: Annotated[UUID | None, typer.Option("--in", help="Go on in this conversation.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One question a line in, one answer a line out, as JSON.")
    ] = False,
) -> None:
    """Hold a conversation. Ctrl-C stops the answer that is being written; /help lists what else there is.

    Files go with every question until /new.
    """
    from copilot_cli.chatting import Chat
    from copilot_cli.client import ApiClient
    from copilot_cli.documents import read_documents
    from copilot_cli.places import Places

    documents = read_documents(file or [])
    with ApiClient(Places.here().remote()) as client:
        Chat(client, documents=documents, model=model, conversation_id=conversation, as_json=as_json).run()
