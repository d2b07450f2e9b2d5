"""A reader whose answer was taken over by another process gets the stored end exactly once, whatever it has seen."""

from uuid import UUID

import pytest

from copilot_common.base.errors import NotFound
from copilot_common.base.ids import new_id
from copilot_common.encryption import Purpose
from copilot_domain.conversations import ConversationRepository, NewConversation
from copilot_domain.conversations.generation.events import EventRecord, MessageStart, StreamError, is_last
from copilot_domain.conversations.generation.following import AnswerRef, Follower
from integration.conversations.ground import Ground

KEPT = 4  # message_start, two deltas, the end
_END = StreamError("INTERRUPTED", "x")


class LostGeneration:
    """As much of a RunningGeneration as a follower sees: it had shown `count` events when it was lost."""

    def __init__(self, count: int) -> None:
        self.record = EventRecord()
        self.record.add(MessageStart(UUID(int=1)))
        for _ in range(count - 1):
            self.record.add_text("a")

    async def follow(self, after: int):  # type: ignore[no-untyped-def]
        if batch := self.record.beyond(after):
            yield batch


async def stored(ground: Ground) -> AnswerRef:
    """An answer that another process has ended."""
    record, conversation, message = EventRecord(), new_id(), new_id()
    record.add(MessageStart(UUID(int=1)))
    record.add_text("a")
    record.add_text("a")
    async with ground.db.transaction(ground.principal) as tx:
        await ConversationRepository().insert(tx, conversation, NewConversation())
        cipher = await tx.cipher()
        await tx.execute(
            "INSERT INTO messages (tenant_id, id, conversation_id, position, role, status, user_id, content_sealed,"
            " events_sealed) VALUES (%s, %s, %s, 1, 'assistant', 'interrupted', %s, %s, %s)",
            [
                ground.principal.tenant_id,
                message,
                conversation,
                ground.principal.user_id,
                cipher.seal_text(Purpose.MESSAGE_CONTENT, message, record.content),
                cipher.seal(Purpose.MESSAGE_EVENTS, message, record.boundaries(_END)),
            ],
        )
    return AnswerRef(conversation, message)


@pytest.mark.parametrize("shown", [1, KEPT - 1, KEPT, KEPT + 1, KEPT + 50])
async def test_the_end_comes_once_and_without_a_gap(ground: Ground, shown: int) -> None:
    follower = Follower(ground.db, ground.log, ConversationRepository())
    lost = LostGeneration(shown)
    answer = await stored(ground)
    events = [
        event
        async for batch in follower.follow(ground.principal, answer, after=0, local=lost)  # type: ignore[arg-type]
        for event in batch
    ]
    assert [number for number, _ in events] == list(range(1, max(shown + 1, KEPT) + 1))
    assert [is_last(payload) for _, payload in events] == [False] * (len(events) - 1) + [True]


async def test_who_has_seen_the_end_gets_no_second_one(ground: Ground) -> None:
    follower = Follower(ground.db, ground.log, ConversationRepository())
    answer = await stored(ground)
    assert [batch async for batch in follower.follow(ground.principal, answer, after=KEPT, local=None)] == []


async def test_a_conversation_deleted_meanwhile_is_an_end(ground: Ground) -> None:
    follower = Follower(ground.db, ground.log, ConversationRepository())
    gone = AnswerRef(new_id(), new_id())
    batches = [batch async for batch in follower.follow(ground.principal, gone, after=7, local=None)]
    assert [number for number, _ in batches[0]] == [8]
    assert b'"CANCELLED"' in batches[0][0][1]
    with pytest.raises(NotFound):
        async with ground.db.transaction(ground.principal) as tx:
            await ConversationRepository().message(tx, gone.conversation_id, gone.message_id)
