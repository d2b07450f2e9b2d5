import pytest

from copilot_common.llm import (
    ChatMessage,
    ChatRequest,
    CitationScanner,
    Finished,
    Passage,
    TextDelta,
    split_passages,
)
from copilot_common.llm.adapters.extractive import ExtractiveModel

TEXT = "# Ports\nThe API listens on port 8080.\n\n# Backups\nBackups run at night.\n\n# Logs\nLogs are JSON lines."
PASSAGES = tuple(split_passages("guide.md", TEXT, 1, target_chars=45))


def request(*questions: str, passages: tuple[Passage, ...] = PASSAGES, max_tokens: int | None = None) -> ChatRequest:
    turns = tuple(ChatMessage("user", question) for question in questions)
    return ChatRequest(model="extractive", messages=turns, passages=passages, max_tokens=max_tokens)


async def answer(*questions: str, passages: tuple[Passage, ...] = PASSAGES) -> str:
    return (await ExtractiveModel().complete(request(*questions, passages=passages))).text


def cited(text: str, passages: tuple[Passage, ...] = PASSAGES) -> list[Passage]:
    numbers = CitationScanner({passage.number for passage in passages}).feed(text)
    return [passage for passage in passages if passage.number in numbers]


async def test_it_says_that_no_language_model_answers() -> None:
    assert (await answer("Which port?")).startswith("No language model is configured")


async def test_it_quotes_and_cites_the_passage_that_answers() -> None:
    text = await answer("On which port does it listen?")
    assert "The API listens on port 8080." in text
    assert "port 8080" in cited(text)[0].text
    assert "guide.md" in text


async def test_a_follow_up_without_words_of_its_own_goes_back_to_the_question_before() -> None:
    text = await answer("When do backups run?", "And why is that so?")
    assert "Backups run at night." in text


async def test_where_nothing_matches_it_says_so_and_shows_how_the_text_begins() -> None:
    text = await answer("Summarise!")
    assert "no passage" in text
    assert cited(text)[0].number == 1


async def test_without_passages_it_tells_how_to_configure_a_provider() -> None:
    text = await answer("Hello?", passages=())
    assert "ANTHROPIC_API_KEY" in text
    assert "[" not in text


async def test_a_marker_inside_a_passage_is_no_citation() -> None:
    sources = ("The port is 8080, see [2].", "Something else.")
    passages = tuple(Passage(number, "a", text, 0, len(text)) for number, text in enumerate(sources, 1))
    assert [passage.number for passage in cited(await answer("port?", passages=passages), passages)] == [1]


async def test_it_streams_words_and_ends_with_estimated_usage() -> None:
    events = [event async for batch in ExtractiveModel().stream(request("Which port?")) for event in batch]
    assert len(events) > 10
    assert all(isinstance(event, TextDelta) for event in events[:-1])
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.estimated
    assert events[-1].usage.output_tokens > 0


async def test_the_limit_on_tokens_ends_the_answer() -> None:
    completion = await ExtractiveModel().complete(request("Which port?", max_tokens=5))
    assert completion.finish_reason == "length"
    assert completion.usage.output_tokens <= 5


@pytest.mark.parametrize("size", [30_000, 1_000_000])
async def test_large_documents_are_answered_from_too(size: int) -> None:
    text = "Filler sentence about nothing. " * (size // 31) + "The secret port is 4711."
    passages = tuple(split_passages("big.txt", text, 1))
    assert "4711" in await answer("What is the secret port?", passages=passages)
