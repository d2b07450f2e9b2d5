"""Every error is one line that says what to do."""

import httpx
import psycopg
import pytest
from psycopg import errors

from copilot_cli.client import ApiError
from copilot_cli.failures import describe
from copilot_common.base.errors import InvalidInput, SettingsError


def test_an_api_error_names_code_fields_and_request() -> None:
    error = ApiError(
        status=422,
        code="VALIDATION_ERROR",
        message="The request is not valid.",
        details={"fields": {"content": "is empty", "model": "is unknown."}},
        request_id="abc",
    )
    assert describe(error) == (
        "VALIDATION_ERROR: The request is not valid. content: is empty. model: is unknown. (request abc)"
    )


def test_a_refused_key_leads_to_the_variable() -> None:
    error = ApiError(status=401, code="UNAUTHORIZED", message="No.")
    assert "COPILOT_API_KEY" in describe(error)


def test_an_api_that_is_not_there_is_named_with_what_to_do() -> None:
    error = httpx.ConnectError("refused", request=httpx.Request("GET", "http://host:1/x?secret=1"))
    assert describe(error).startswith("http://host:1 cannot be reached.")
    assert "secret" not in describe(error)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errors.UndefinedTable(), "copilot migrate up"),
        (errors.InsufficientPrivilege(), "copilot_owner"),
        (errors.InvalidPassword(), "password"),
        (psycopg.OperationalError("connection to 1.2.3.4 failed, password=hunter2"), "is it running"),
        (psycopg.ProgrammingError("missing = in hunter2"), "postgres://"),
    ],
)
def test_a_database_error_says_what_to_do_and_quotes_nothing(error: Exception, advice: str) -> None:
    assert advice in describe(error)
    assert "hunter2" not in describe(error)


def test_wrong_input_names_each_field() -> None:
    assert describe(InvalidInput({"slug": "is taken", "email": "is odd"})) == "slug: is taken; email: is odd"


def test_a_settings_error_is_its_message() -> None:
    assert describe(SettingsError("PORT is odd")) == "PORT is odd"


def test_a_file_that_is_not_there_is_named() -> None:
    assert describe(FileNotFoundError(2, "No such file or directory", "x.md")) == "x.md: No such file or directory"


def test_an_unexpected_error_shows_its_kind_and_the_way_to_more_but_not_its_text() -> None:
    line = describe(ZeroDivisionError("secret"))
    assert "ZeroDivisionError" in line
    assert "--debug" in line
    assert "secret" not in line
