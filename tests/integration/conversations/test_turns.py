"""How a turn begins and ends, each in one statement: assumed, resent, raced."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import psycopg
import pytest

from copilot_common.base.errors import Conflict, InvalidInput, NotFound, Unavailable
from copilot_common.base.ids import MessageId, ProcessId, UserId, new_id
from copilot_common.encryption import DecryptionError
from copilot_common.llm.estimates import estimate_usage
from copilot_common.platform.db import Database
from copilot_common.queue import Ledger
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.conversations import Ask, ConversationRepository, Document, NewConversation
from copilot_domain.conversations.generation.finishing import Finisher
from copilot_domain.conversations.generation.generating import Generator, Outcome, conclude
from copilot_domain.conversations.generation.rows import LlmCall, ending_params
from copilot_domain.conversations.generation.running import RunningGeneration
from copilot_domain.conversations.generation.starting import StartedTurn, TurnStarter
from copilot_domain.conversations.repository import sql
from integration.conversations.ground import Ground
from support.clients import eventually
from support.commits import watch_commits

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


def running(ground: Ground, where: UUID, turn: StartedTurn) -> RunningGeneration:
    return RunningGeneration(principal=ground.principal, conversation_id=where, turn=turn, streamed=False, claim=None)


async def end(ground: Ground, where: UUID, turn: StartedTurn, text: str = "An answer.") -> RunningGeneration:
    generation = running(ground, where, turn)
    generation.record.add_text(text)
    await Finisher(ground.db, ground.log, Ledger(lambda _: None), PROCESS).finish(
        generation, Outcome("completed", "stop")
    )
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


async def test_a_begin_sent_again_while_the_first_still_waits_is_the_same_turn(
    ground: Ground, starter: TurnStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has given its connection up, the server has not: both wait for the conversation's lock."""
    where = await conversation(ground)
    call = ground.db.call

    async def both(query: str, params: dict[str, object]) -> object:
        monkeypatch.setattr(ground.db, "call", call)
        with psycopg.connect(ground.site.database.admin_url) as holder:
            holder.execute("SELECT FROM conversations WHERE id = %s FOR UPDATE", [where])
            sendings = [asyncio.create_task(call(query, params)) for _ in range(2)]
            await eventually(lambda: _waiting(ground, 2), what="both waiting for the lock")
        results = await asyncio.gather(*sendings, return_exceptions=True)
        return next((each for each in results if isinstance(each, Exception)), None) or results[0]

    async def raising(query: str, params: dict[str, object]) -> object:
        result = await both(query, params)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(ground.db, "call", raising)
    turn = await begin(ground, starter, where, Ask(content="One?"))
    assert ground.site.rows("SELECT id FROM messages WHERE role = 'assistant'") == [(turn.answer_id,)]
    assert ground.site.rows("SELECT message_count FROM conversations WHERE id = %s", where) == [(2,)]


async def _waiting(ground: Ground, count: int) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    return bool(ground.site.rows(query, ground.site.database.name)[0][0] >= count)


async def test_history_that_cannot_be_opened_fails_the_answer_and_frees_the_conversation(
    ground: Ground, starter: TurnStarter
) -> None:
    where = await conversation(ground)
    await end(ground, where, await begin(ground, starter, where, Ask(content="One?")))
    ground.site.rows("UPDATE messages SET content_sealed = 'garbage' WHERE conversation_id = %s", where)
    turn = await begin(ground, starter, where, Ask(content="Two?"))
    assert turn.fault is not None
    generation = running(ground, where, turn)
    outcome = await Generator(ground.log).run(generation)
    await Finisher(ground.db, ground.log, Ledger(lambda _: None), PROCESS).finish(generation, outcome)
    with pytest.raises(DecryptionError):
        await generation.wait()
    assert ground.status(turn.answer_id) == "failed"
    assert ground.site.rows("SELECT input_tokens FROM llm_calls WHERE message_id = %s", turn.answer_id) == [(0,)]


async def test_the_estimate_kept_for_a_lost_answer_counts_no_more_than_there_is_room_for(
    ground: Ground, starter: TurnStarter
) -> None:
    where = await conversation(ground, model="openai/own")
    for _ in range(4):
        await end(ground, where, await begin(ground, starter, where, Ask(content="word " * 4_000)), "word " * 4_000)
    turn = await begin(ground, starter, where, Ask(content="Two?"))
    sent = estimate_usage(turn.request, "").input_tokens
    rows = ground.site.rows("SELECT input_tokens FROM messages WHERE id = %s", turn.answer_id)
    assert sent <= rows[0][0] <= turn.model.context_window * 3 // 4


async def test_an_end_looks_at_its_own_answer_however_many_others_are_being_made(
    ground: Ground, starter: TurnStarter
) -> None:
    where = await conversation(ground)
    turn = await begin(ground, starter, where, Ask(content="One?"))
    for _ in range(60):
        await begin(ground, starter, await conversation(ground), Ask(content="Other?"))
    call = LlmCall(
        call_id=new_id(),
        conversation_id=where,
        position=turn.position,
        message_id=turn.answer_id,
        provider="openai",
        model="openai/sim",
        first_token_ms=None,
        total_ms=1,
    )
    ending, _ = conclude(running(ground, where, turn), Outcome("completed", "stop"))
    params = ending_params(ground.principal, turn.cipher, fence=1, process_id=PROCESS, ending=ending, call=call)
    touched = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'messages'"
    async with ground.db.transaction(ground.principal) as tx:
        assert await tx.fetch_value(sql["finish_turn"], params) is True
        rows = await tx.fetch_value(touched)
    assert isinstance(rows, int)
    assert rows <= 10


async def test_the_bill_of_a_deleted_conversation_is_no_end_of_its_answer(
    ground: Ground, starter: TurnStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bill is committed, but the acknowledgement is lost: the second try finds it."""
    where = await conversation(ground)
    turn = await begin(ground, starter, where, Ask(content="One?"))
    ground.site.rows("DELETE FROM conversations WHERE id = %s", where)
    transaction, losses = ground.db.transaction, [Unavailable("lost")]

    @asynccontextmanager
    async def losing(principal: Principal) -> AsyncIterator[Transaction]:
        async with transaction(principal) as tx:
            yield tx
        if losses:
            raise losses.pop()

    monkeypatch.setattr(ground.db, "transaction", losing)
    generation = await end(ground, where, turn)
    with pytest.raises(Conflict):
        await generation.wait()
    assert len(ground.site.rows("SELECT 1 FROM llm_calls WHERE message_id = %s", turn.answer_id)) == 1


@pytest.mark.parametrize(("is_told", "setting"), [(True, "on"), (False, "off")])
async def test_a_turn_that_nobody_is_told_of_waits_for_the_disk_with_its_answer(
    ground: Ground, is_told: bool, setting: str
) -> None:
    watch_commits(ground.site.database.admin_url, "messages")
    where = await conversation(ground)
    database = Database(ground.site.database.app_url, max_size=1, application_name="tests")
    await database.open()
    await database.fetch_row("SELECT set_config('synchronous_commit', 'on', false)", ())  # unlike the tests' server
    ground.db = TenantDatabase(database, ground.db.keyring)
    starter = TurnStarter(ground.db, ground.models, process_id=PROCESS, max_messages=100)
    turn = await starter.start(ground.principal, where, MessageId(new_id()), Ask(content="One?"), None, is_told=is_told)
    assert set(ground.site.rows("SELECT setting FROM commits")) == {(setting,)}
    ground.site.rows("DELETE FROM commits")
    await end(ground, where, turn)
    assert set(ground.site.rows("SELECT setting FROM commits")) == {("on",)}
    await database.close()


async def test_a_turn_that_a_crash_of_postgresql_has_undone_is_billed_and_asked_again(
    ground: Ground, starter: TurnStarter
) -> None:
    where = await conversation(ground)
    turn = await begin(ground, starter, where, Ask(content="One?"))
    ground.site.rows("DELETE FROM messages WHERE conversation_id = %s", where)
    generation = await end(ground, where, turn)
    with pytest.raises(Conflict, match="a crash of the database has undone it"):
        await generation.wait()
    assert len(ground.site.rows("SELECT 1 FROM llm_calls WHERE message_id = %s", turn.answer_id)) == 1
    again = await begin(ground, starter, where, Ask(content="One?"))
    assert (await (await end(ground, where, again)).wait()).content == "An answer."


async def test_a_statement_that_ran_out_of_time_is_not_sent_again(ground: Ground) -> None:
    ground.site.rows("CREATE SEQUENCE sendings")
    ground.site.rows("GRANT ALL ON sendings TO copilot_app")
    database = Database(ground.site.database.app_url, max_size=1, application_name="tests")
    await database.open()
    await database.fetch_row("SELECT set_config('statement_timeout', '100', false)", ())
    with pytest.raises(Unavailable):
        await database.fetch_row("SELECT nextval('sendings'), pg_sleep(20)", ())
    await database.close()
    assert ground.site.rows("SELECT last_value FROM sendings") == [(1,)]


def test_the_statements_name_no_table() -> None:
    """They are functions that set the tenant themselves; a bare statement sent by `call` would see no row."""
    assert all("turn." in sql[name] for name in ("begin_turn", "finish_turn"))
