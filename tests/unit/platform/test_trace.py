"""W3C trace context: continued where it is well-formed, begun anew where it is not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_common.platform.trace import begin_trace, current_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MALFORMED = [
    None,
    "",
    "garbage",
    f"00-{TRACE}-{SPAN}",
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE[:-1]}-{SPAN}-01",
    f" 00-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-01\n",
    f"00-{TRACE}-{SPAN}-01-more",
    f"ff-{TRACE}-{SPAN}-01",
]


def test_a_callers_trace_is_continued_in_a_span_of_its_own() -> None:
    trace = begin_trace(f"00-{TRACE}-{SPAN}-01")
    assert trace.trace_id == TRACE
    assert trace.span_id != SPAN
    assert trace.traceparent == f"00-{TRACE}-{trace.span_id}-01"
    assert current_trace.get() is trace


@pytest.mark.parametrize("header", MALFORMED)
def test_a_malformed_header_counts_as_none(header: str | None) -> None:
    trace = begin_trace(header)
    assert trace.trace_id != TRACE
    assert re.fullmatch(r"[0-9a-f]{32}", trace.trace_id)
    assert re.fullmatch(r"[0-9a-f]{16}", trace.span_id)


@given(st.text())
def test_no_header_breaks_it(header: str) -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", begin_trace(header).traceparent)
