"""From texts to vectors, through one interface: adapters, wrappers, the list of models.

Importing this package imports neither numpy nor a model; `build_embedder` does.
"""

from copilot_common.embedding.factory import build_embedder, describe_embedder
from copilot_common.embedding.metering import EmbeddingMetrics
from copilot_common.embedding.protocol import Embedded, Embedder, EmbedderSpec, Purpose, Vectors

__all__ = [
    "Embedded",
    "Embedder",
    "EmbedderSpec",
    "EmbeddingMetrics",
    "Purpose",
    "Vectors",
    "build_embedder",
    "describe_embedder",
]
