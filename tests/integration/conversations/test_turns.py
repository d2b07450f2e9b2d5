"""How a turn begins and ends, each in one statement: assumed, resent, raced."""

from uuid import UUID, uuid4

import pytest

from copilot_common.base.errors import Conflict, InvalidInput, NotFound
from copilot_common.base.ids import MessageId, ProcessId, UserId, new_id
from copilot_common.tenancy import Principal
from copilot_domain.conversations import Ask, ConversationRepository, Document, NewConversation
from copilot_domain.conversations.generation.finishing import Finisher
from copilot_domain.conversations.generation.generating import Outcome
from copilot_domain.conversations.generation.running import RunningGeneration
from copilot_domain.conversations.generation.starting import StartedTurn, TurnStarter
from copilot_domain.conversations.repository import sql
from integration.conversations.ground import Ground

PROCESS = ProcessId(new_id())


@pytest.fixture
def starter(ground: Ground) -> TurnStarter:
    return TurnStarter(ground.db, ground.models, process_id=PROCESS, max_messages=100)


async def conversation(ground: Ground, **fields: str) -> UUID:
    made = new_id()
    async with ground.db.transaction(ground.principal) as tx:
        await ConversationRepository().insert(tx, made, NewConversation(**fields))  # type: ignore[arg-type]
    return made


async def begin(ground: Ground, starter: TurnStarter, where: UUID, ask: Ask) -> StartedTurn:
    return await starter.start(ground.principal, where, MessageId(new_id()), ask, None)


async def end(ground: Ground, where: UUID, turn: StartedTurn, text: str = "An answer.") -> RunningGeneration:
    generation = RunningGeneration(
        principal=ground.principal, conversation_id=where, turn=turn, streamed=False, claim=None
    )
    generation.record.add_text(text)
    await Finisher(ground.db, ground.log, PROCESS).finish(generation, Outcome("completed", "stop"))
    return generation


async def test_history_and_system_prompt_reach_the_model_in_order(ground: Ground, starter: TurnStarter) -> None:
    where = await conversation(ground, system_prompt="Be brief.")
    await end(ground, where, await begin(ground, starter, where, Ask(content="One?")), "First.")
    turn = await begin(ground, starter, where, Ask(content="Two?"))
    assert turn.request.system == "Be brief."
    assert [message.content for message in turn.request.messages] == ["One?", "First.", "Two?"]


async def test_a_conversations_own_model_is_found_at_the_second_try(ground: Ground, starter: TurnStarter) -> None:
    where = await conversation(ground, model="openai/own")
    turn = await begin(ground, starter, where, Ask(content="Hello?"))
    assert turn.model.name == "openai/own"
    rows = ground.site.rows("SELECT model, position FROM messages WHERE id = %s", turn.answer_id)
    assert rows == [("openai/own", 2)]


async def test_a_named_model_goes_before_the_conversations_own(ground: Ground, starter: TurnStarter) -> None:
    where = await conversation(ground, model="openai/own")
    assert (await begin(ground, starter, where, Ask(content="Hello?", model="openai/named"))).model.model == "named"


async def test_documents_are_cut_to_the_window_of_the_conversations_own_model(
    ground: Ground, starter: TurnStarter
) -> None:
    """`local/extractive` reads much more than a model that models.toml does not list."""
    text = "\n\n".join(f"Passage {number} speaks of ships and the sea." * 10 for number in range(900))
    ask = Ask(content="What of ships?", documents=(Document("sea.txt", text),))
    small, large = await conversation(ground), await conversation(ground, model="local/extractive")
    cut = await begin(ground, starter, small, ask)
    whole = await begin(ground, starter, large, ask)
    assert 0 < len(cut.request.passages) < len(whole.request.passages)


@pytest.mark.parametrize("system_prompt", ["word " * 40_000, None])
async def test_what_fits_no_window_is_refused_and_leaves_nothing(
    ground: Ground, starter: TurnStarter, system_prompt: str | None
) -> None:
    fields = {"system_prompt": system_prompt} if system_prompt else {}
    where = await conversation(ground, **fields)
    content = "Hello?" if system_prompt else "word " * 40_000
    with pytest.raises(InvalidInput) as refused:
        await begin(ground, starter, where, Ask(content=content))
    assert refused.value.fields.keys() == {"content"}
    assert ground.site.rows("SELECT message_count FROM conversations WHERE id = %s", where) == [(0,)]


async def test_a_second_question_while_one_is_answered_is_a_conflict(ground: Ground, starter: TurnStarter) -> None:
    where = await conversation(ground)
    await begin(ground, starter, where, Ask(content="One?"))
    with pytest.raises(Conflict) as refused:
        await begin(ground, starter, where, Ask(content="Two?"))
    assert refused.value.code == "GENERATION_IN_PROGRESS"
    assert ground.site.rows("SELECT message_count FROM conversations WHERE id = %s", where) == [(2,)]


async def test_another_users_private_conversation_is_not_there(ground: Ground, starter: TurnStarter) -> None:
    where = await conversation(ground)
    stranger = Principal.system(ground.principal.tenant_id, UserId(uuid4()))
    with pytest.raises(NotFound):
        await starter.start(stranger, where, MessageId(new_id()), Ask(content="Hello?"), None)


async def test_a_begin_that_is_sent_again_is_the_same_turn(
    ground: Ground, starter: TurnStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection dies between the commit and its answer: the pool sends the statement once more."""
    where = await conversation(ground)
    await end(ground, where, await begin(ground, starter, where, Ask(content="One?")))
    call, sent = ground.db.call, []

    async def twice(query: str, params: dict[str, object]) -> object:
        sent.append(await call(query, params))
        return await call(query, params)

    monkeypatch.setattr(ground.db, "call", twice)
    turn = await begin(ground, starter, where, Ask(content="Two?"))
    assert [message.content for message in turn.request.messages] == ["One?", "An answer.", "Two?"]
    assert turn.created_at == sent[0][0]  # type: ignore[index]
    assert ground.site.rows("SELECT message_count FROM conversations WHERE id = %s", where) == [(4,)]


async def test_an_end_that_is_sent_again_is_one_end_and_one_bill(
    ground: Ground, starter: TurnStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await conversation(ground)
    turn = await begin(ground, starter, where, Ask(content="One?"))
    call = ground.db.call

    async def twice(query: str, params: dict[str, object]) -> object:
        await call(query, params)
        return await call(query, params)

    monkeypatch.setattr(ground.db, "call", twice)
    generation = await end(ground, where, turn)
    assert (await generation.wait()).status == "completed"
    assert len(ground.site.rows("SELECT 1 FROM llm_calls WHERE message_id = %s", turn.answer_id)) == 1


async def test_an_answer_that_was_taken_over_is_not_ended_here(ground: Ground, starter: TurnStarter) -> None:
    where = await conversation(ground)
    turn = await begin(ground, starter, where, Ask(content="One?"))
    ground.site.rows("UPDATE messages SET fence = fence + 1 WHERE id = %s", turn.answer_id)
    generation = await end(ground, where, turn)
    assert generation.is_lost
    assert ground.status(turn.answer_id) == "generating"


def test_the_statements_name_no_table() -> None:
    """They are functions that set the tenant themselves; a bare statement sent by `call` would see no row."""
    assert all("turn." in sql[name] for name in ("begin_turn", "finish_turn"))
