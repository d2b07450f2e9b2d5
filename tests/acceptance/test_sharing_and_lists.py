"""Who sees and changes a conversation, lists and their pages, feedback, what goes to the model as history."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from support.api import PASSWORD, SharedApi, Site, StartApi
from support.clients import Client, refusal
from support.simulator import scripted


def openai(script: str = "tokens=1") -> str:
    return f"openai/{scripted(script)[0]}"


async def member(shared_api: SharedApi, role: str) -> Client:
    """A member of acme's of their own."""
    name = f"m{uuid4().hex[:10]}"
    async with shared_api.acme as owner:
        invite = await owner.call("POST", "/tenants/current/invites", {"email": f"{name}@x.example", "role": role})
        body = {"username": name, "email": f"{name}@x.example", "password": PASSWORD}
        assert (
            await owner.call("POST", "/auth/register", {**body, "invite_token": invite.json()["token"]})
        ).status_code == 201
        token = await owner.log_in(name, PASSWORD)
    return shared_api.process.client(None, Authorization=f"Bearer {token}")


@pytest.fixture
async def ann(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with await member(shared_api, "member") as client:
        yield client


@pytest.fixture
async def bob(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with await member(shared_api, "member") as client:
        yield client


@pytest.fixture
async def admin(shared_api: SharedApi) -> AsyncIterator[Client]:
    async with await member(shared_api, "admin") as client:
        yield client


async def listed(client: Client) -> list[str]:
    return [item["id"] for item in (await client.get("/conversations?limit=100"))["items"]]


async def test_a_private_conversation_does_not_exist_for_others_not_even_admins(
    ann: Client, bob: Client, admin: Client
) -> None:
    conversation = await ann.conversation(title="Ann's")
    answer = (await ann.ask(conversation, model=openai())).json()["id"]
    message = f"/conversations/{conversation}/messages/{answer}"
    for other in (bob, admin):
        assert conversation not in await listed(other)
        for method, path, body in [
            ("GET", f"/conversations/{conversation}", None),
            ("PATCH", f"/conversations/{conversation}", {"title": "x"}),
            ("DELETE", f"/conversations/{conversation}", None),
            ("GET", f"/conversations/{conversation}/messages", None),
            ("POST", f"/conversations/{conversation}/messages", {"content": "x"}),
            ("GET", message, None),
            ("GET", f"{message}/stream", None),
            ("POST", f"{message}/cancel", None),
            ("PUT", f"{message}/feedback", {"rating": 1}),
        ]:
            refusal(await other.call(method, path, body), 404, "NOT_FOUND")


async def test_a_shared_conversation_is_read_and_continued_by_all_but_changed_by_owner_and_admins(
    ann: Client, bob: Client, admin: Client
) -> None:
    conversation = await ann.conversation(title="Ours", visibility="tenant")
    assert conversation in await listed(bob)
    assert (await bob.get(f"/conversations/{conversation}"))["title"] == "Ours"
    assert (await bob.ask(conversation, model=openai())).status_code == 201
    path = f"/conversations/{conversation}"
    refusal(await bob.call("PATCH", path, {"title": "x"}), 403, "FORBIDDEN")
    refusal(await bob.call("DELETE", path), 403, "FORBIDDEN")
    assert (await admin.call("PATCH", path, {"title": "Admin's"})).json()["title"] == "Admin's"
    assert (await ann.call("PATCH", path, {"visibility": "private"})).status_code == 200
    refusal(await bob.call("GET", path), 404, "NOT_FOUND")


async def test_another_conversations_message_is_not_found_through_ones_own(ann: Client, bob: Client) -> None:
    theirs, mine = await ann.conversation(), await bob.conversation()
    answer = (await ann.ask(theirs, model=openai())).json()["id"]
    refusal(await bob.call("GET", f"/conversations/{mine}/messages/{answer}"), 404, "NOT_FOUND")


async def test_an_update_changes_what_is_named_and_null_clears(ann: Client) -> None:
    given = {"title": "T", "system_prompt": "S", "metadata": {"a": [1, {"b": None}]}, "model": "local/extractive"}
    conversation = await ann.conversation(**given)
    path = f"/conversations/{conversation}"
    changed = (await ann.call("PATCH", path, {"title": None, "metadata": {"c": 1}})).json()
    assert {name: changed[name] for name in given} == given | {"title": None, "metadata": {"c": 1}}
    assert await ann.get(path) == changed
    assert (await ann.call("PATCH", path, {})).json()["title"] is None
    answer = await ann.call("DELETE", path)
    assert (answer.status_code, answer.content) == (204, b"")
    refusal(await ann.call("GET", path), 404, "NOT_FOUND")
    refusal(await ann.call("DELETE", path), 404, "NOT_FOUND")


async def test_pages_by_cursor_and_by_offset_show_every_conversation_once_newest_activity_first(ann: Client) -> None:
    made = [await ann.conversation(title=str(number)) for number in range(7)]
    await ann.ask(made[2], model=openai())
    expected = [made[2], *(one for one in reversed(made) if one != made[2])]
    by_cursor, cursor = [], ""
    while True:
        page = await ann.get(f"/conversations?limit=3{cursor}")
        by_cursor += [item["id"] for item in page["items"] if item["id"] in made]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert by_cursor == expected
    everything = await listed(ann)
    by_offset = []
    for offset in range(0, len(everything), 3):
        page = await ann.get(f"/conversations?limit=3&offset={offset}")
        assert (page["limit"], page["offset"]) == (3, offset)
        by_offset += [item["id"] for item in page["items"]]
    assert by_offset == everything


async def test_messages_come_oldest_first_in_pages(ann: Client) -> None:
    conversation = await ann.conversation()
    for number in range(3):
        await ann.ask(conversation, f"Question {number}", model=openai())
    path = f"/conversations/{conversation}/messages"
    first = await ann.get(f"{path}?limit=4")
    rest = await ann.get(f"{path}?limit=4&cursor={first['next_cursor']}")
    items = [*first["items"], *rest["items"]]
    assert [item["role"] for item in items] == ["user", "assistant"] * 3
    assert [item["content"] for item in items[::2]] == ["Question 0", "Question 1", "Question 2"]
    assert (first["total"], first["has_more"], rest["has_more"], rest["next_cursor"]) == (6, True, False, None)
    assert (await ann.get(f"{path}?limit=2&offset=4"))["items"] == items[4:]
    assert (await ann.get(f"/conversations/{conversation}"))["message_count"] == 6


async def test_feedback_is_for_answers_and_the_second_one_counts(shared_api: SharedApi, ann: Client) -> None:
    conversation = await ann.conversation()
    answer = (await ann.ask(conversation, model=openai())).json()["id"]
    question = (await ann.messages(conversation))[0]["id"]
    path = f"/conversations/{conversation}/messages"
    first = await ann.call("PUT", f"{path}/{answer}/feedback", {"rating": -1, "comment": "No."})
    assert (first.status_code, first.json()) == (200, {"rating": -1, "comment": "No."})
    await ann.call("PUT", f"{path}/{answer}/feedback", {"rating": 1})
    rows = "SELECT rating, comment_sealed FROM message_feedback WHERE message_id = %s"
    assert shared_api.site.rows(rows, answer) == [(1, None)]
    refusal(await ann.call("PUT", f"{path}/{question}/feedback", {"rating": 1}), 422, "VALIDATION_ERROR")
    for wrong in ({"rating": 0}, {"rating": True}, {}, {"rating": 1, "comment": "x" * 10_001}):
        refusal(await ann.call("PUT", f"{path}/{answer}/feedback", wrong), 422, "VALIDATION_ERROR")
    refusal(await ann.call("GET", f"{path}/{question}/stream"), 422, "VALIDATION_ERROR")


async def test_the_model_gets_the_system_prompt_and_the_turns_before(shared_api: SharedApi, ann: Client) -> None:
    model, key = scripted("tokens=2")
    conversation = await ann.conversation(system_prompt="Be brief.", model=f"openai/{model}")
    await ann.ask(conversation, "First?")
    await ann.ask(conversation, "Second?")
    sent = (await shared_api.site.simulator.requests(key))[-1]["body"]["messages"]
    assert [(one["role"], one["content"]) for one in sent] == [
        ("system", "Be brief."),
        ("user", "First?"),
        ("assistant", "word0 word1 "),
        ("user", "Second?"),
    ]


async def test_a_failed_answer_is_no_part_of_the_history(shared_api: SharedApi, ann: Client) -> None:
    conversation, (model, key) = await ann.conversation(), scripted("tokens=1")
    await ann.ask(conversation, "Lost?", model=openai("fault=status,status=400,after=1"))
    await ann.ask(conversation, "Found?", model=f"openai/{model}")
    sent = (await shared_api.site.simulator.requests(key))[-1]["body"]["messages"]
    assert sent[-1]["content"] == "Found?"
    assert [one["role"] for one in sent if one["role"] == "assistant"] == []


async def test_at_most_max_conversation_messages_go_to_the_model(site: Site, start_api: StartApi) -> None:
    api = start_api(site.environ(max_conversation_messages=4))
    model, key = scripted("tokens=1")
    async with api.client(site.acme) as client:
        conversation = await client.conversation(model=f"openai/{model}")
        for number in range(5):
            await client.ask(conversation, f"Question {number}")
    sent = (await site.simulator.requests(key))[-1]["body"]["messages"]
    questions = [one["content"] for one in sent if one["role"] == "user"]
    assert questions == ["Question 2", "Question 3", "Question 4"]
    assert sent[0]["role"] == "user"
