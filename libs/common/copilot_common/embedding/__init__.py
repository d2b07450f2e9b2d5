"""From texts to vectors, through one interface. An adapter is imported where it is wired, by who has its library."""

from copilot_common.embedding.protocol import Embedder

__all__ = ["Embedder"]
