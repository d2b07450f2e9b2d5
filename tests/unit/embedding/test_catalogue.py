from decimal import Decimal

import pytest

from copilot_common.base.tokens import BYTES_PER_TOKEN
from copilot_common.embedding.catalogue import EmbeddingModel, describe, parse_name
from copilot_common.embedding.cutting import cut
from copilot_common.embedding.protocol import EmbedderSpec
from copilot_common.llm import TokenUsage, cost_usd


def described(name: str) -> tuple[EmbeddingModel, EmbedderSpec]:
    parsed = parse_name(name)
    assert parsed is not None
    found = describe(parsed)
    assert found is not None
    return found


def test_vectors_are_stored_under_provider_model_and_dimensions() -> None:
    assert described("openai/text-embedding-3-small")[1].name == "openai/text-embedding-3-small@1536"
    assert described("openai/text-embedding-3-small@512")[1].name == "openai/text-embedding-3-small@512"


def test_a_stored_name_leads_back_to_its_model() -> None:
    for name in ("google/gemini-embedding-001@768", "compatible/BAAI/bge-m3@1024", "compatible/own:v1.5@300"):
        assert described(name)[1].name == name


def test_what_a_batch_costs_is_known() -> None:
    prices = described("openai/text-embedding-3-large")[1].prices
    assert cost_usd(TokenUsage(input_tokens=2_000_000), prices) == Decimal("0.26")


def test_queries_and_documents_are_marked_as_the_model_was_trained() -> None:
    model, _ = described("compatible/intfloat/multilingual-e5-large")
    assert (model.prefix("query"), model.prefix("document")) == ("query: ", "passage: ")


@pytest.mark.parametrize(
    "name",
    [
        "openai/text-embedding-3-small@1537",  # more than it has
        "compatible/nomic-embed-text@512",  # it has one size
        "compatible/own",  # who knows
    ],
)
def test_dimensions_that_cannot_be_are_none(name: str) -> None:
    parsed = parse_name(name)
    assert parsed is not None
    assert describe(parsed) is None


@pytest.mark.parametrize(
    "name", ["", "openai", "openai/", "nobody/x", "google/../../v1/files", "openai/a b", "openai/x?y", "openai/x@4001"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    assert parse_name(name) is None


def test_a_chunk_and_its_headings_are_read_to_their_end() -> None:
    _, spec = described("compatible/intfloat/multilingual-e5-large")
    assert (spec.chunk_tokens, spec.shown_tokens) == (320, 384)
    shown = "x" * (384 * BYTES_PER_TOKEN)
    assert cut(shown, spec.max_input_tokens) == shown
