"""Texts on their way into the context, through a client whose API is made up."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import pytest

from copilot_cli.client import ApiClient, ApiError
from copilot_cli.client.http import Http
from copilot_cli.ingesting import NewFile, NewText, NewUrl, add_all, kind_of, read_texts, wait_until_settled
from copilot_cli.places import Remote

REMOTE = Remote("http://api.test", "cpk_live_x", "a test")
TEXTS = [NewText("one", "text", "1"), NewText("two", "text", "2")]


def item(name: str, status: str) -> httpx.Response:
    body = {
        "id": str(UUID(int=1)),
        "name": name,
        "type": "text",
        "status": status,
        "token_count": 1,
        "chunk_count": 1,
        "error": None,
        "metadata": {},
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }
    return httpx.Response(201, json=body)


def refusal(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "message": "no", "details": {}, "request_id": "r"})


def client(*answers: httpx.Response) -> ApiClient:
    left: Iterator[httpx.Response] = iter(answers)
    return ApiClient(REMOTE, Http(REMOTE, transport=httpx.MockTransport(lambda request: next(left))))


def silent(_: str) -> None:
    """No progress is shown."""


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.md", "document"),
        ("b/C.MD", "document"),
        ("a.py", "code"),
        ("x.tsx", "code"),
        ("a.txt", "text"),
        ("py", "text"),
    ],
)
def test_a_files_suffix_says_how_it_is_cut(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_another_name_does_not_change_how_a_file_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    assert read_texts([tmp_path / "a.py"], name="Guide", kind=None) == [NewText("Guide", "code", "x = 1\n")]


def test_a_text_that_is_refused_does_not_keep_the_others_out() -> None:
    told: list[str] = []
    api = client(refusal(422, "VALIDATION_ERROR"), item("two", "pending"))
    added = add_all(api, TEXTS, {}, progress=silent, refused=lambda name, error: told.append(f"{name} {error.code}"))
    assert ([one.name for one in added], told) == (["two"], ["one VALIDATION_ERROR"])


def test_a_key_that_is_refused_ends_it_at_once() -> None:
    with pytest.raises(ApiError):
        add_all(client(refusal(401, "UNAUTHORIZED")), TEXTS, {}, progress=silent, refused=lambda *_: None)


def test_the_wait_ends_when_each_is_ready_or_failed_and_tells_of_its_progress() -> None:
    api = client(item("one", "pending"), item("one", "processing"), item("one", "ready"))
    sent = [api.context.add("one", "text", "1")]
    said: list[str] = []
    (settled,) = wait_until_settled(api, sent, seconds=60, progress=said.append)
    assert settled.status == "ready"
    assert said == ["0 of 1 done, one is pending", "0 of 1 done, one is processing", "1 of 1 done"]


def test_the_wait_ends_when_its_time_is_over() -> None:
    api = client(item("one", "pending"))
    sent = [api.context.add("one", "text", "1")]
    assert wait_until_settled(api, sent, seconds=-1, progress=silent) == sent


def test_a_file_is_sent_as_it_is_and_tells_how_much_of_it_has_gone(tmp_path: Path) -> None:
    path, sent = tmp_path / "a.ts", list[httpx.Request]()
    path.write_bytes(b"x" * 200_000)
    told: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        sent.append(request)
        body = msgspec.json.decode(item("a.ts", "pending").content)
        return httpx.Response(201, json=[body])

    api = ApiClient(REMOTE, Http(REMOTE, transport=httpx.MockTransport(answer)))
    (added,) = add_all(
        api, [NewFile("a.ts", path)], {"k": "v"}, progress=silent, refused=lambda *_: None, advance=told.append
    )
    assert added.name == "a.ts"
    assert sum(told) == 200_000
    assert max(told) <= 65_536
    form = sent[0].content
    assert b'name="file"; filename="a.ts"' in form
    assert form.index(b'{"k":"v"}') < form.index(b"x" * 200_000)


def test_a_url_is_sent_as_one() -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return item("x", "pending")

    api = ApiClient(REMOTE, Http(REMOTE, transport=httpx.MockTransport(answer)))
    add_all(api, [NewUrl("x", "https://a.example/")], {}, progress=silent, refused=lambda *_: None)
    body = {"name": "x", "type": "url", "url": "https://a.example/", "metadata": {}}
    assert msgspec.json.decode(sent[0].content) == body
