"""What went wrong, as one line that says what to do."""

from copilot_cli.client.errors import ApiError
from copilot_common.base.errors import CopilotError, InvalidInput

_ADVICE = {
    "UNAUTHORIZED": "Check COPILOT_API_KEY.",
    "GENERATION_IN_PROGRESS": "Wait for the answer that is being written, or cancel it.",
    "UNAVAILABLE": "Try again in a moment.",
    "INTERNAL_ERROR": "The request id leads to the API's log line.",
}

_NO_SCHEMA = "The database has no schema yet: copilot migrate up"
_BAD_LOGIN = "The database refused the role or its password: check both in the database URL."
_BY_SQLSTATE = {
    "42P01": _NO_SCHEMA,  # undefined table
    "3F000": _NO_SCHEMA,  # undefined schema
    "28000": _BAD_LOGIN,
    "28P01": _BAD_LOGIN,
    "3D000": "The database that the URL names does not exist.",
    "42501": "The database role may not do this: MIGRATION_DATABASE_URL must name copilot_owner.",
}


def describe(error: Exception) -> str:
    """One line about `error`; for one that nobody expected, its kind and how to learn more."""
    known = _ours(error) or _of_http(error) or _of_database(error) or _of_system(error)
    return known or f"Unexpected {type(error).__name__}. Run it again as `copilot --debug …` to see where."


def _ours(error: Exception) -> str | None:
    match error:
        case ApiError():
            return _of_api(error)
        case InvalidInput():
            return "; ".join(f"{name}: {problem}" for name, problem in error.fields.items())
        case CopilotError():
            return error.message
        case _:
            return None


def _of_api(error: ApiError) -> str:
    parts = [f"{error.code}: {error.message}"]
    parts += [f"{name}: {problem.rstrip('.')}.".removeprefix(": ") for name, problem in error.fields.items()]
    parts += [_ADVICE[error.code]] if error.code in _ADVICE else []
    return " ".join(parts) + (f" (request {error.request_id})" if error.request_id else "")


def _of_http(error: Exception) -> str | None:
    import httpx

    if not isinstance(error, (httpx.HTTPError, httpx.InvalidURL)):
        return None
    if isinstance(error, httpx.InvalidURL):
        return "COPILOT_URL is not a URL."
    where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}" if _has_request(error) else "The API"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"{where} cannot be reached. Is it running (copilot status), is COPILOT_URL right?"
    if isinstance(error, httpx.TimeoutException):
        return f"{where} did not answer in time. Try again; GET /health tells how it is."
    return f"The connection to {where} broke ({type(error).__name__}). Try again."


def _has_request(error: Exception) -> bool:
    return getattr(error, "_request", None) is not None  # httpx raises on .request where there is none


def _of_database(error: Exception) -> str | None:
    import psycopg

    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    if state:
        return _BY_SQLSTATE.get(state) or f"The database answered with {type(error).__name__} ({state})."
    if isinstance(error, psycopg.ProgrammingError):
        return "The database URL is not valid: postgres://user:password@host:5432/copilot"
    return "The database refused the connection: is it running, are host, port, user and password of its URL right?"


def _of_system(error: Exception) -> str | None:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return None
