"""What the packages offer, to the name."""

import copilot_common.embedding
import copilot_common.reranking
import copilot_domain.context


def test_the_public_names_are_these() -> None:
    assert copilot_common.embedding.__all__ == [
        "Embedded",
        "Embedder",
        "EmbedderSpec",
        "EmbeddingMetrics",
        "Purpose",
        "Vectors",
        "build_embedder",
        "describe_embedder",
    ]
    assert copilot_common.reranking.__all__ == [
        "RerankMetrics",
        "Reranker",
        "RerankerSpec",
        "build_reranker",
        "check_reranker",
    ]
    assert copilot_domain.context.__all__ == [
        "AclEntry",
        "Collection",
        "CollectionChanges",
        "CollectionService",
        "ContextRepository",
        "ContextService",
        "Item",
        "ItemChanges",
        "ItemError",
        "ItemFilter",
        "NewCollection",
        "NewItem",
        "SearchFilter",
        "SearchHit",
        "SearchRequest",
        "SearchResult",
    ]
    for name in copilot_domain.context.__all__:
        assert hasattr(copilot_domain.context, name)
