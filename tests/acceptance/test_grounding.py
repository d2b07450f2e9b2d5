"""Answers on attached documents: every citation is a piece of the text it names."""

from pathlib import Path

from support.api import SharedApi
from support.clients import check_whole, refusal
from support.simulator import scripted

README = Path(__file__).parents[2] / "migrations" / "001_initial.sql"


def check_citations(citations: list[dict[str, object]], documents: list[dict[str, str]]) -> None:
    texts = {document["name"]: document["text"] for document in documents}
    assert citations
    for citation in citations:
        start, end = citation["start"], citation["end"]
        assert isinstance(start, int)
        assert isinstance(end, int)
        assert texts[str(citation["name"])][start:end] == citation["quote"]


async def test_a_models_citation_quotes_the_document(shared_api: SharedApi) -> None:
    documents = [
        {"name": "käse.md", "text": "Käse — 🧀 — schmilzt. Kupfer schmilzt bei 1085 °C.\n\n" * 3},
        {"name": "b.md", "text": "Something else entirely."},
    ]
    async with shared_api.acme as client:
        conversation = await client.conversation()
        answer = (await client.ask(conversation, model=f"openai/{scripted('cite=1')[0]}", documents=documents)).json()
        check_citations(answer["citations"], documents)
        assert {citation["source"] for citation in answer["citations"]} == {"document"}
        assert (await client.message(conversation, answer["id"]))["citations"] == answer["citations"]
        events = await client.stream(conversation, model=f"openai/{scripted('cite=2')[0]}", documents=documents)
        check_whole(events)
        check_citations([event.data for event in events if event.type == "citation"], documents)


async def test_without_a_provider_the_documents_are_quoted(shared_api: SharedApi) -> None:
    documents = [{"name": "001.sql", "text": README.read_text()}]
    async with shared_api.acme as client:
        answer = await client.ask(
            await client.conversation(),
            "Who owns the definer functions?",
            model="local/extractive",
            documents=documents,
        )
        assert answer.status_code == 201, answer.text
        check_citations(answer.json()["citations"], documents)


async def test_a_citation_of_nothing_is_no_citation(shared_api: SharedApi) -> None:
    async with shared_api.acme as client:
        answer = await client.ask(
            await client.conversation(),
            model=f"openai/{scripted('cite=99')[0]}",
            documents=[{"name": "a", "text": "Only one passage."}],
        )
        assert answer.json()["citations"] == []


async def test_a_document_of_one_megabyte_works_and_more_together_is_named(shared_api: SharedApi) -> None:
    line = "Row {} of the long document says something of its own. "
    text = "".join(line.format(number) for number in range(20_000))[:999_000]
    documents = [{"name": "long.txt", "text": text}]
    async with shared_api.acme as client:
        conversation = await client.conversation()
        answer = await client.ask(
            conversation, "What does row 17000 say?", model="local/extractive", documents=documents
        )
        assert answer.status_code == 201, answer.text
        check_citations(answer.json()["citations"], documents)
        assert "17000" in answer.json()["content"]
        more = [*documents, {"name": "b", "text": "x" * 1_001}]
        details = refusal(await client.ask(conversation, documents=more), 422, "VALIDATION_ERROR")
        assert list(details["fields"]) == ["documents"]


async def test_only_the_passages_that_fit_are_sent(shared_api: SharedApi) -> None:
    """An unlisted model's window is 32 000 tokens, half of it for documents."""
    model, key = scripted("cite=1")
    text = "".join(f"Paragraph {number} is about topic {number}.\n\n" for number in range(20_000))[:900_000]
    async with shared_api.acme as client:
        answer = await client.ask(
            await client.conversation(),
            "topic 12345",
            model=f"openai/{model}",
            documents=[{"name": "long.md", "text": text}],
        )
        assert answer.status_code == 201, answer.text
    sent = str((await shared_api.site.simulator.requests(key))[0]["body"])
    assert "topic 12345" in sent
    assert len(sent) < 16_000 * 6


async def test_a_question_without_a_word_of_the_document_gets_its_beginning(shared_api: SharedApi) -> None:
    model, key = scripted("cite=1")
    text = "".join(f"Paragraph {number} is about topic {number}.\n\n" for number in range(20_000))[:900_000]
    async with shared_api.acme as client:
        answer = await client.ask(
            await client.conversation(),
            "Summarise!",
            model=f"openai/{model}",
            documents=[{"name": "long.md", "text": text}],
        )
        assert len(answer.json()["citations"]) == 1
    assert "topic 1." in str((await shared_api.site.simulator.requests(key))[0]["body"])
