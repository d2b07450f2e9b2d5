"""The client's requests and what it makes of the answers."""

import json
from collections.abc import Callable
from uuid import UUID

import httpx
import pytest

from copilot_cli.client import ApiClient, ApiError, Document, Question
from copilot_cli.client.http import Http
from copilot_cli.places import Remote

REMOTE = Remote("http://api.test", "cpk_live_x", "a test")
ID = UUID(int=1)
CONVERSATION = {
    "id": str(ID),
    "title": "t",
    "model": None,
    "visibility": "private",
    "message_count": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "something_new": True,
}


class Api:
    """Answers with what it is given, in turn; keeps the requests."""

    def __init__(self, *answers: httpx.Response | Callable[[httpx.Request], httpx.Response]) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        return answer(request) if callable(answer) else answer

    def client(self) -> ApiClient:
        return ApiClient(REMOTE, Http(REMOTE, transport=httpx.MockTransport(self)))


def test_every_request_carries_the_key() -> None:
    api = Api(httpx.Response(201, json=CONVERSATION))
    api.client().create_conversation(title="t")
    assert api.requests[0].headers["X-API-Key"] == "cpk_live_x"
    assert json.loads(api.requests[0].content) == {"title": "t"}


def test_fields_that_a_newer_api_adds_are_passed_over() -> None:
    assert Api(httpx.Response(200, json=CONVERSATION)).client().conversation(ID).title == "t"


def test_a_search_asks_for_the_reranker_only_when_told_to() -> None:
    found = httpx.Response(200, json={"results": [], "took_ms": 1, "degraded": False})
    api = Api(found, found)
    for rerank in (False, True):
        api.client().context.search("lamps", limit=5, rerank=rerank)
    plain = {"query": "lamps", "limit": 5, "mode": "hybrid"}
    assert [json.loads(request.content) for request in api.requests] == [plain, {**plain, "rerank": True}]


def test_an_error_body_becomes_an_error_with_its_parts() -> None:
    body = {"code": "VALIDATION_ERROR", "message": "no", "details": {"fields": {"a[0].b": "is odd"}}, "request_id": "r"}
    with pytest.raises(ApiError) as raised:
        Api(httpx.Response(422, json=body)).client().conversation(ID)
    error = raised.value
    assert (error.status, error.code, error.fields, error.request_id) == (
        422,
        "VALIDATION_ERROR",
        {"a[0].b": "is odd"},
        "r",
    )


@pytest.mark.parametrize("answer", [httpx.Response(502, text="<html>"), httpx.Response(200, text="<html>")])
def test_what_is_no_answer_of_ours_is_said_to_be_none(answer: httpx.Response) -> None:
    with pytest.raises(ApiError) as raised:
        Api(answer).client().conversation(ID)
    assert raised.value.code == "UNEXPECTED_ANSWER"


def test_a_list_follows_its_cursor_until_it_has_enough() -> None:
    pages = [
        httpx.Response(200, json={"items": [CONVERSATION] * 100, "next_cursor": "c"}),
        httpx.Response(200, json={"items": [CONVERSATION] * 20, "next_cursor": "d"}),
    ]
    api = Api(*pages)
    assert len(list(api.client().conversations(120))) == 120
    assert [dict(request.url.params) for request in api.requests] == [{"limit": "100"}, {"limit": "20", "cursor": "c"}]


def test_a_question_that_is_sent_again_has_the_same_idempotency_key() -> None:
    def cut(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("cut", request=request)

    api = Api(cut, httpx.Response(200, content=b'id: 1\ndata: {"type":"message_start"}\n\ndata: [DONE]\n\n'))
    stream = api.client().ask_streamed(ID, Question("q", [Document("n", "t")]))
    stream._wait = lambda seconds: None
    assert [event.number for event in stream] == [1]
    first, second = api.requests
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.content == second.content


def test_a_replay_from_the_middle_names_the_last_event() -> None:
    api = Api(httpx.Response(200, content=b'id: 5\ndata: {"type":"message_end"}\n\ndata: [DONE]\n\n'))
    assert [event.number for event in api.client().replay(ID, ID, after=4)] == [5]
    assert api.requests[0].headers["Last-Event-ID"] == "4"


def test_the_question_in_one_piece_holds_documents_and_model() -> None:
    body = Question("q", [Document("n", "t")], "m").body()
    assert body == {"role": "user", "content": "q", "documents": [{"name": "n", "text": "t"}], "model": "m"}


def test_a_question_to_the_context_asks_for_a_search() -> None:
    assert Question("q", searches_context=True).body()["context"] == {"search": True}


def test_a_background_question_is_told_from_others_by_one_field_and_sent_once() -> None:
    message: dict[str, object] = {
        "id": str(ID),
        "conversation_id": str(ID),
        "role": "assistant",
        "content": "",
        "status": "pending",
        "usage": None,
        "model": None,
        "citations": [],
        "finish_reason": None,
        "created_at": "2026-01-01T00:00:00Z",
    }
    api = Api(httpx.Response(202, json=message))
    assert api.client().ask_later(ID, Question("q")).status == "pending"
    (request,) = api.requests
    assert json.loads(request.content) == {"role": "user", "content": "q", "background": True}
    assert request.headers["Idempotency-Key"]


def test_filters_of_a_list_are_sent_with_every_page() -> None:
    pages = [httpx.Response(200, json={"items": [], "next_cursor": "c"}), httpx.Response(200, json={"items": []})]
    api = Api(*pages)
    assert list(api.client().jobs.list(5, queue="context", status="dead")) == []
    filters = {"queue": "context", "status": "dead", "limit": "5"}
    assert [dict(request.url.params) for request in api.requests] == [filters, filters | {"cursor": "c"}]
