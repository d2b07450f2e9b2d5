"""What is searched for in a conversation."""

import pytest

from copilot_common.llm.types import ChatMessage
from copilot_domain.conversations.generation.asking import QUERY_CHARACTERS, search_query

CATS = "When are vaccinations of cats due in the first year?"


def talk(*questions: str) -> list[ChatMessage]:
    turns = [(ChatMessage("user", text), ChatMessage("assistant", f"About {text}")) for text in questions]
    return [message for turn in turns for message in turn][:-1]


def test_a_first_question_is_what_is_searched_for() -> None:
    assert search_query(talk("Why?")) == "Why?"


@pytest.mark.parametrize(
    "follow_up", ["And dogs?", "Why is it done so early in the year?", "Und wie ist das bei Hunden?"]
)
def test_a_follow_up_is_searched_for_with_the_question_before_it(follow_up: str) -> None:
    assert search_query(talk(CATS, follow_up)) == f"{CATS}\n{follow_up}"


def test_a_question_that_stands_alone_forgets_the_ones_before() -> None:
    other = "Which harbours are closed to tankers over two hundred metres?"
    assert search_query(talk(CATS, other)) == other


def test_it_goes_back_to_the_question_that_stands_alone_and_no_further() -> None:
    assert search_query(talk("Which harbours are closed to tankers?", CATS, "And dogs?")) == f"{CATS}\nAnd dogs?"
    assert search_query(talk(CATS, "And dogs?", "Why?")) == f"{CATS}\nAnd dogs?\nWhy?"
    assert search_query(talk(CATS, "And dogs?", "Why?", "Really?")) == "And dogs?\nWhy?\nReally?"


def test_answers_are_not_searched_for_and_a_long_text_keeps_its_end() -> None:
    assert "About" not in search_query(talk(CATS, "And dogs?"))
    query = search_query(talk(CATS * 400, "And dogs?"))
    assert len(query) == QUERY_CHARACTERS
    assert query.endswith("And dogs?")
