"""One sweep over answers of dead processes, some of which cannot be ended."""

from uuid import UUID

from copilot_common.tenancy import Transaction
from copilot_domain.conversations import ConversationRepository
from copilot_domain.conversations.repository import MessageRow
from integration.conversations.ground import Ground


class Deleting(ConversationRepository):
    """Somebody deletes a conversation between the sweeper's claim and its look at the message."""

    def __init__(self, message_id: UUID) -> None:
        self._message_id = message_id

    async def message(self, tx: Transaction, conversation_id: UUID, message_id: UUID) -> MessageRow:
        if message_id == self._message_id:
            await self.delete(tx, conversation_id)
        return await super().message(tx, conversation_id, message_id)


async def test_a_conversation_deleted_under_the_sweeper_does_not_stop_it(ground: Ground) -> None:
    deleted, kept = await ground.orphan(), await ground.orphan()
    sweeper = ground.sweeper(Deleting(deleted))
    assert await sweeper.sweep() == 1
    assert ground.status(kept) == "interrupted"


async def test_an_answer_that_cannot_be_opened_does_not_keep_others_from_their_end(ground: Ground) -> None:
    broken, whole = await ground.orphan(), await ground.orphan()
    ground.site.rows("UPDATE messages SET events_sealed = 'garbage' WHERE id = %s", broken)
    assert await ground.sweeper(ConversationRepository()).sweep() == 1
    assert (ground.status(broken), ground.status(whole)) == ("generating", "interrupted")


async def test_two_sweepers_end_an_answer_once(ground: Ground) -> None:
    message = await ground.orphan()
    first, second = (ground.sweeper(ConversationRepository()) for _ in range(2))
    assert [await first.sweep(), await second.sweep()] == [1, 0]
    assert ground.site.rows("SELECT outcome FROM llm_calls WHERE message_id = %s", message) == [("interrupted",)]


async def test_all_answers_of_a_busy_process_end_in_one_go(ground: Ground) -> None:
    orphans = [await ground.orphan() for _ in range(25)]
    await ground.sweeper(ConversationRepository()).sweep_all()
    assert {ground.status(orphan) for orphan in orphans} == {"interrupted"}


async def test_answers_of_one_conversation_whose_jobs_are_gone_end_one_after_the_other(ground: Ground) -> None:
    """Two of them cannot be `generating` at once; and no conversation may keep those of others from their end."""
    waiting, other = await ground.abandoned(3), await ground.orphan()
    sweeper = ground.sweeper(ConversationRepository())
    swept = [await sweeper.sweep() for _ in range(4)]
    assert swept == [2, 1, 1, 0]
    assert {ground.status(message) for message in [*waiting, other]} == {"interrupted"}
