"""What is stored of a stream gives the same stream again."""

import json
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from copilot_domain.conversations.generation.events import EventRecord, MessageEnd, MessageStart, StreamError, is_last
from copilot_domain.conversations.types import AnswerUsage, Citation

texts = st.text(min_size=1, max_size=30)
citations = st.builds(
    Citation,
    source=st.just("document"),
    name=texts,
    start=st.integers(0, 10**6),
    end=st.integers(0, 10**6),
    quote=texts,
)
usage = AnswerUsage(input_tokens=1, output_tokens=2, cached_tokens=0, cost_usd=None, estimated=False)
endings = st.sampled_from([MessageEnd(UUID(int=1), "stop", usage), StreamError("INTERRUPTED", "x"), None])


def record_of(parts: list[str | Citation]) -> EventRecord:
    record = EventRecord()
    record.add(MessageStart(UUID(int=1)))
    for part in parts:
        if isinstance(part, str):
            record.add_text(part)
        else:
            record.add(part)
    return record


@given(parts=st.lists(texts | citations), ending=endings)
def test_a_record_is_restored_event_for_event(
    parts: list[str | Citation], ending: MessageEnd | StreamError | None
) -> None:
    record = record_of(parts)
    restored = EventRecord.restore(record.content, record.boundaries(ending))
    if ending is not None:
        record.add(ending)
    assert restored.payloads == record.payloads
    assert restored.content == record.content == "".join(part for part in parts if isinstance(part, str))
    assert list(restored.citations()) == [part for part in parts if isinstance(part, Citation)]
    assert restored.has_ended == (ending is not None)


@given(parts=st.lists(texts | citations), cut=st.integers(0, 20))
def test_a_checkpoint_and_the_log_beyond_it_give_the_whole(parts: list[str | Citation], cut: int) -> None:
    """As a sweep puts them together."""
    whole = record_of(parts)
    checkpoint = record_of(parts[:cut])
    restored = EventRecord.restore(checkpoint.content, checkpoint.boundaries())
    restored.extend(payload for _, payload in whole.beyond(len(restored)))
    assert restored.payloads == whole.payloads
    assert restored.content == whole.content
    assert restored.boundaries() == whole.boundaries()


@given(parts=st.lists(texts | citations), after=st.integers(0, 30))
def test_events_beyond_a_number_continue_without_a_gap(parts: list[str | Citation], after: int) -> None:
    record = record_of(parts)
    beyond = record.beyond(after)
    assert [number for number, _ in beyond] == list(range(after + 1, len(record) + 1))
    assert [payload for _, payload in beyond] == record.payloads[after:]


@given(parts=st.lists(texts | citations, min_size=1))
def test_every_event_is_json_with_its_type_and_only_ends_end(parts: list[str | Citation]) -> None:
    for payload in record_of(parts).payloads:
        assert json.loads(payload)["type"] in {"message_start", "content_delta", "citation"}
        assert b"\n" not in payload
        assert not is_last(payload)
