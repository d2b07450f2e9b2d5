"""The parser of server-sent events."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from copilot_cli.client.sse import ServerSentEvent, SseParser


def parse(*pieces: bytes) -> list[ServerSentEvent]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_an_event_has_its_number_and_its_data() -> None:
    assert parse(b'id: 7\ndata: {"a": 1}\n\n') == [ServerSentEvent(7, '{"a": 1}')]


def test_the_end_marker_has_no_number_even_after_a_numbered_event() -> None:
    assert parse(b"id: 1\ndata: x\n\ndata: [DONE]\n\n")[-1] == ServerSentEvent(None, "[DONE]")


def test_pings_and_unknown_fields_are_passed_over() -> None:
    assert parse(b": ping\n\nevent: x\nretry: 5\nid: 1\ndata: y\n\n") == [ServerSentEvent(1, "y")]


def test_several_data_lines_are_one_text() -> None:
    assert parse(b"data: a\ndata: b\n\n") == [ServerSentEvent(None, "a\nb")]


def test_an_event_without_its_empty_line_is_not_complete() -> None:
    assert parse(b"id: 1\ndata: cut off") == parse(b"id: 1\ndata: cut off\n") == []


def test_line_separators_inside_a_text_do_not_end_a_line() -> None:
    text = "one\u2028two\u0085three\x0bfour"
    assert parse(f"id: 1\ndata: {text}\n\n".encode()) == [ServerSentEvent(1, text)]


def test_a_number_that_is_none_is_passed_over() -> None:
    assert parse("id: ²\ndata: x\n\n".encode()) == [ServerSentEvent(None, "x")]


@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), min_size=1
    ),
    line_end=st.sampled_from(["\n", "\r", "\r\n"]),
    cuts=st.lists(st.integers(min_value=0, max_value=500)),
)
def test_where_the_pieces_end_makes_no_difference(texts: list[str], line_end: str, cuts: list[int]) -> None:
    lines = [line for number, text in enumerate(texts, 1) for line in (f"id: {number}", f"data: {text}", "")]
    # A lone CR at the very end might be half of a CRLF; what follows on a real stream settles it.
    body = (line_end.join(lines) + line_end + ": ping").encode()
    places = sorted({0, *(min(cut, len(body)) for cut in cuts), len(body)})
    pieces = [body[start:end] for start, end in pairwise(places)]
    assert parse(*pieces) == [ServerSentEvent(number, text) for number, text in enumerate(texts, 1)]
