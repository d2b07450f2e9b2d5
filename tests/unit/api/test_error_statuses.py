"""What is told apart below the API as a refusal is what it answers with a status below 500."""

from typing import get_args

from copilot_api.http.errors import STATUS
from copilot_common.base.errors import CopilotError, ErrorCode


def test_refusals_are_answered_below_500_and_failures_from_there_on() -> None:
    assert set(STATUS) == set(get_args(ErrorCode))
    for code, status in STATUS.items():
        error = CopilotError("")
        error.code = code
        assert error.is_refusal == (status < 500), code
