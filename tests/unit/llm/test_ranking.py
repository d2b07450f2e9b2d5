import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.llm import Passage, rank_passages


def passages(*texts: str) -> list[Passage]:
    return [Passage(number, "a", text, 0, len(text)) for number, text in enumerate(texts, 1)]


def numbers(query: str, *texts: str, limit: int = 5) -> list[int]:
    return [passage.number for passage in rank_passages(query, passages(*texts), limit)]


def test_the_passage_with_the_rare_word_comes_first() -> None:
    assert numbers("install redis", "install it", "install redis", "install that") == [2, 1, 3]


@pytest.mark.parametrize("form", ["install", "installs", "installed", "installing"])
def test_forms_of_a_word_meet(form: str) -> None:
    assert numbers(form, "nothing here", "How to install it", "Installing is easy") != []
    assert set(numbers(form, "nothing", "How to install it", "Installing is easy")) == {2, 3}


def test_a_passage_without_any_word_of_the_question_is_left_out() -> None:
    assert numbers("where is the database", "the cache", "a database") == [2]


def test_a_question_of_stop_words_finds_nothing() -> None:
    assert numbers("what is the", "what is the") == []


def test_at_most_the_limit_comes_back() -> None:
    assert numbers("a1", "a1", "a1", "a1", limit=2) == [1, 2]


def test_equals_keep_their_order() -> None:
    assert numbers("cat", "cat one", "cat two", "cat six") == [1, 2, 3]


def test_scripts_without_spaces_are_found() -> None:
    assert numbers("数据库密码", "今天天气很好", "请设置数据库的密码") == [2]


@given(st.text(), st.lists(st.text(), max_size=8), st.integers(0, 5))
def test_any_texts_give_passages_of_the_input_without_repetition(query: str, texts: list[str], limit: int) -> None:
    found = numbers(query, *texts, limit=limit)
    assert len(found) == len(set(found)) <= limit
    assert set(found) <= set(range(1, len(texts) + 1))
