"""Log lines: the guide's JSON, and never the text of an exception or of a library."""

import json
import logging
from io import StringIO

import pytest
from loguru import logger

from copilot_common.platform.logs import configure_logs

SECRET = "hunter2-hunter2"


@pytest.fixture
def out() -> StringIO:
    stream = StringIO()
    configure_logs("api-server", level="info", stream=stream)
    return stream


def test_a_line_has_the_guides_fields_in_their_order_then_what_is_bound(out: StringIO) -> None:
    logger.bind(status=201).info("Request completed")
    line = json.loads(out.getvalue())
    assert list(line) == [
        "timestamp", "level", "service", "trace_id", "span_id", "tenant_id", "user_id", "message", "status",
    ]  # fmt: skip


def test_an_exception_is_shown_by_type_and_place_never_by_its_text(out: StringIO) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        logger.opt(exception=error).error("It failed")
    line = json.loads(out.getvalue())
    assert line["error_type"] == "ValueError"
    assert "test_logs.py" in line["error_at"][-1]
    assert SECRET not in out.getvalue()


def test_a_librarys_line_is_reduced_to_where_it_came_from(out: StringIO) -> None:
    logging.getLogger("some.library").warning("cannot connect to %s", SECRET)
    line = json.loads(out.getvalue())
    assert (line["message"], line["logger"], line["level"]) == ("Library log", "some.library", "warning")
    assert SECRET not in out.getvalue()


def test_one_event_is_one_line_whatever_is_bound(out: StringIO) -> None:
    logger.bind(path="/a\nb\r\n{}").info("Request completed")
    assert out.getvalue().count("\n") == 1
