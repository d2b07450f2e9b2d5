"""Conversations and their messages."""

from copilot_domain.conversations.repository import ConversationRepository
from copilot_domain.conversations.service import ConversationService
from copilot_domain.conversations.types import (
    Ask,
    Citation,
    ContextWanted,
    Conversation,
    Document,
    Feedback,
    Message,
    NewConversation,
)

__all__ = [
    "Ask",
    "Citation",
    "ContextWanted",
    "Conversation",
    "ConversationRepository",
    "ConversationService",
    "Document",
    "Feedback",
    "Message",
    "NewConversation",
]
