"""How well texts answer a query, by a model that reads both together: one interface, one adapter."""

from copilot_common.reranking.factory import build_reranker, check_reranker
from copilot_common.reranking.metering import RerankMetrics
from copilot_common.reranking.protocol import Reranker, RerankerSpec

__all__ = ["RerankMetrics", "Reranker", "RerankerSpec", "build_reranker", "check_reranker"]
