"""A client of the REST API: the CLI's, and the demo's."""

from copilot_cli.client.api import ApiClient, Document, Question
from copilot_cli.client.errors import ApiError
from copilot_cli.client.streams import AnswerStream, StreamEvent
from copilot_cli.client.types import Citation, Conversation, Index, Item, Message

__all__ = [
    "AnswerStream",
    "ApiClient",
    "ApiError",
    "Citation",
    "Conversation",
    "Document",
    "Index",
    "Item",
    "Message",
    "Question",
    "StreamEvent",
]
