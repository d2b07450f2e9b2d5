"""`copilot conversations list | show`."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from copilot_cli.options import USER_PANEL, AsJson, Limit

if TYPE_CHECKING:
    from copilot_cli.client import Message


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="List conversations, and read one.")
    group.command("list")(list_)
    group.command()(show)
    app.add_typer(group, name="conversations", rich_help_panel=USER_PANEL)


def list_(limit: Limit = 20, as_json: AsJson = False) -> None:
    """List conversations, newest activity first."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import print_json, print_table
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        found = list(client.conversations(limit))
    if as_json:
        print_json(found)
    else:
        columns = ["id", "title", "messages", "model", "visibility", "last activity"]
        rows = [(one.id, one.title, one.message_count, one.model, one.visibility, one.updated_at) for one in found]
        print_table(columns, rows, empty="No conversations yet: copilot chat")


def show(
    conversation_id: Annotated[UUID, typer.Argument(help="From `list`.")],
    limit: Limit = 1_000,
    as_json: AsJson = False,
) -> None:
    """Show a conversation with its messages, oldest first."""
    from copilot_cli.client import ApiClient
    from copilot_cli.output import console, note, print_json
    from copilot_cli.places import Places

    with ApiClient(Places.here().remote()) as client:
        conversation = client.conversation(conversation_id)
        messages = list(client.messages(conversation_id, limit))
    if as_json:
        print_json({"conversation": conversation, "messages": messages})
        return
    for message in messages:
        console().print(f"{message.role}, {message.created_at:%Y-%m-%d %H:%M}", style="bold", highlight=False)
        _print_content(message)
    if len(messages) < conversation.message_count:
        note(f"{len(messages)} of {conversation.message_count} messages; --limit shows more.")


def _print_content(message: "Message") -> None:
    from copilot_cli.answers import print_footer
    from copilot_cli.output import printable

    print(printable(message.content))
    if message.role == "assistant":
        print_footer(message, documents=(), seconds=None)
    print()
