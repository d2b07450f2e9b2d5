"""The retrieval measures' own arithmetic: texts, rankings, judgements, rows."""

import math
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from bench.load.job import Outcome
from bench.measures import quality
from bench.percentiles import Summary
from bench.retrieval import findings
from bench.retrieval.cranfield import ndcg, read_collection
from bench.retrieval.fusions import (
    PARTS,
    PRODUCT,
    Constants,
    CrossValidated,
    Judged,
    by_ranks,
    by_words,
    cross_validate,
    hybrid,
    mean_ndcg,
)
from bench.retrieval.rankings import Candidates, recall
from bench.retrieval.tenants import sizes
from bench.retrieval.texts import Author

from copilot_domain.context.search.fusion import rank_hybrid

_DOCUMENTS = """\
.I 1
.T
wings in
slipstreams .
.A
brenckman,m.
.W
wings in
slipstreams .
  an experiment .
.I 2
.T
.W
shear flow .
"""
_QUESTIONS = ".I 001\n.W\nwhat of\nwings ?\n.I 004\n.W\nnothing judged\n.I 009\n.W\nwhat flows\n"


def _candidates(seed: int, *, count: int = 30) -> Candidates:
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(count + 1, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    text_scores = np.maximum(chance.normal(size=count), 0)
    return Candidates([UUID(int=number) for number in range(count)], text_scores, vectors[1:], vectors[0])


def _judged(count: int) -> list[Judged]:
    return [Judged(_candidates(seed), np.arange(30), frozenset({seed % 30, 3})) for seed in range(count)]


def test_an_author_writes_the_same_again_and_of_each_document_something_else() -> None:
    one, other = Author(), Author()
    assert one.document(1, 5_000) == other.document(1, 5_000) != one.document(2, 5_000)
    assert one.question(1) == other.question(1) != one.question(2)
    assert 4_900 < len(one.document(1, 5_000)) <= 5_000


def test_a_document_has_words_of_its_topic_more_often_than_others_have_them() -> None:
    author = Author()
    texts = [author.document(seed, 20_000).lower().replace(".", "").split() for seed in range(4)]
    often = [{word for word in text if text.count(word) > 10 and len(word) > 6} for text in texts]
    assert all(len(words) > 5 for words in often)
    assert len(often[0] & often[1]) < len(often[0]) / 2


def test_a_hundred_thousand_chunks_have_tenants_of_a_hundred_three_thousand_and_fifty_thousand() -> None:
    wanted = sizes(100_000)
    assert (wanted["small"], wanted["middle"], wanted["large"]) == (100, 3_000, 50_000)
    assert 99_900 <= sum(wanted.values()) <= 100_000
    assert len(wanted) == 33


def test_the_collection_is_read_with_its_questions_by_their_order(tmp_path: Path) -> None:
    (tmp_path / "cran.all.1400").write_text(_DOCUMENTS)
    (tmp_path / "cran.qry").write_text(_QUESTIONS)
    (tmp_path / "cranqrel").write_text("1 1 2 \n1 2 -1\n3 2 3\n")
    collection = read_collection(tmp_path)
    assert collection.documents == {
        1: ("wings in slipstreams .", "wings in\nslipstreams .\n  an experiment ."),
        2: ("", "shear flow ."),
    }
    assert collection.judged == [("what of wings ?", frozenset({1})), ("what flows", frozenset({2}))]


def test_a_folder_without_the_collection_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no Cranfield collection"):
        read_collection(tmp_path)


def test_ndcg_is_one_for_all_that_answers_first_and_less_the_further_down() -> None:
    relevant = frozenset({1, 2})
    assert ndcg([2, 1, 3], relevant) == pytest.approx(1.0)
    assert ndcg([3, 1], relevant) == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert ndcg([*range(10, 20), 1], relevant) == 0.0
    assert ndcg(list(range(1, 11)), frozenset(range(1, 40))) == pytest.approx(1.0)


def test_the_products_fusion_is_one_of_those_that_are_compared() -> None:
    for seed in range(5):
        candidates = _candidates(seed)
        expected = rank_hybrid(candidates.vector, candidates.vectors, candidates.text_scores)
        assert np.allclose(hybrid(PRODUCT)(candidates), expected)


def test_a_document_stands_where_its_best_passage_does_and_only_if_it_is_found() -> None:
    candidates = Candidates(
        [UUID(int=number) for number in range(4)], np.array([3.0, 2.0, 1.0, 0.0]), np.zeros((4, 2)), np.zeros(2)
    )
    documents = np.array([7, 7, 8, 9])
    assert Judged(candidates, documents, frozenset({8})).ndcg(by_words(candidates)) == pytest.approx(1 / math.log2(3))
    assert Judged(candidates, documents, frozenset({9})).ndcg(by_words(candidates)) == 0.0


def test_reciprocal_ranks_leave_out_what_one_ranking_has_not_found() -> None:
    vectors = np.array([[0.0, 1.0], [1.0, 0.0]])
    candidates = Candidates([UUID(int=1), UUID(int=2)], np.array([5.0, 0.0]), vectors, np.array([1.0, 0.0]))
    assert by_ranks(candidates).tolist() == pytest.approx([1 / 61 + 1 / 62, 1 / 61])


def test_constants_are_scored_on_questions_they_were_not_chosen_by() -> None:
    judged, grid = _judged(20), [Constants(weight, 0, 0.0, 0.0) for weight in (0.0, 0.5, 1.0)]
    found = cross_validate(judged, grid)
    assert len(found.chosen) == 5
    assert found.best_ndcg == pytest.approx(max(mean_ndcg(judged, hybrid(constants)) for constants in grid))
    assert found.ndcg <= found.best_ndcg + 1e-9
    assert all(0 <= mean_ndcg(judged, rank) <= 1 for rank in PARTS.values())


def test_recall_counts_as_many_of_the_ranking_as_there_are_best() -> None:
    ids = [UUID(int=number) for number in range(4)]
    assert recall([[ids[0], ids[2], ids[1]]], [{ids[0], ids[1]}]) == 0.5
    assert recall([[ids[0], ids[1]], []], [{ids[0]}, set()]) == 1.0


def test_a_search_with_too_few_rows_is_missed_whatever_its_recall() -> None:
    found = findings.Found(
        chunks=3_000,
        recall=1.0,
        fewest={"vector": 30, "hybrid": 9},
        sql_ms=Summary(count=1, p95=8.5),
        statements=6.0,
        whole_ms=Summary(count=1, p95=12.0),
    )
    rows = findings.search_rows("middle", found, 50)
    assert [row.verdict for row in rows] == ["MISSED", "MISSED"]
    assert rows[0].measured == "1.000, 9 rows"


@pytest.mark.parametrize(
    ("p95", "fewest", "failures", "verdict"),
    [(20.0, 10, {}, "ok"), (26.0, 10, {}, "MISSED"), (20.0, 9, {}, "MISSED"), (20.0, 10, {"status 500": 1}, "MISSED")],
)
def test_searches_over_http_are_missed_where_they_are_slow_or_not_answered(
    p95: float, fewest: int, failures: dict[str, int], verdict: str
) -> None:
    nothing = Summary(count=0)
    outcome = Outcome(
        requests=100,
        completed=100,
        seconds=1.0,
        per_second=100.0,
        failures=failures,
        latency_ms=Summary(count=100, p95=p95),
        first_token_ms=nothing,
        gap_excess_ms=nothing,
        steady_gap_excess_ms=nothing,
        cpu_share=0.1,
    )
    row = findings.api_row("8 clients", [findings.Asked(outcome, {"api": 50.0}, fewest)])
    assert row.verdict == verdict


def test_chat_beside_an_ingestion_that_has_ended_is_not_measured() -> None:
    quiet, busy = Summary(count=10, p99=10.0), Summary(count=10, p99=15.0)
    ended = findings.chat_rows(quiet, busy, None, (900.0, 100.0))
    assert [row.verdict for row in ended] == ["not measured"] * 2
    chat, kept = findings.chat_rows(quiet, busy, 0.5, (900.0, 450.0))
    assert (chat.measured, chat.verdict) == ("1.50 ×", "ok")
    assert (kept.measured, kept.verdict) == ("50%", "MISSED")


def _measured(model: str) -> quality._Measured:
    constants = Constants(0.3, 3, 1.0, 0.5)
    validated = CrossValidated(0.42, [constants], constants, 0.43)
    return quality._Measured(
        model=model,
        questions=225,
        chunks=1_600,
        searched={"hybrid": 0.43, "vector": 0.34, "text": 0.39},
        parts={"BM25 alone": 0.39},
        validated=validated,
    )


def test_quality_is_judged_by_what_its_embedder_is_good_for() -> None:
    verdicts = {model: quality.rows(_measured(model))[0].verdict for model in ("wordllama-256", "minilm-384", "other")}
    assert verdicts == {"wordllama-256": "ok", "minilm-384": "MISSED", "other": "reported"}


def test_without_the_collection_a_row_says_how_to_have_it() -> None:
    row = quality.left_out()
    assert row.verdict == "not measured"
    assert any("--cranfield" in note for note in row.notes)


def test_memory_is_judged_alone_and_with_children() -> None:
    rows = findings.memory_rows(210.0, 410.0, 390.0)
    assert [row.verdict for row in rows] == ["ok", "MISSED", "ok"]
