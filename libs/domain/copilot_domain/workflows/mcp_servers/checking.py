"""What may be registered: a name, a URL and headers.

Threat model: headers are written by a tenant and sent by this process. One that frames a message, steers what stands
between or breaks a line would make another request of it; egress refuses those at every call, and here they are
refused before they are kept. Headers of the protocol itself are not the tenant's to set.
"""

from typing import Final

from copilot_common.base.errors import EgressRefused, InvalidInput
from copilot_common.platform.egress.calls import check_header
from copilot_common.platform.egress.rules import EgressRules
from copilot_domain.workflows.mcp_servers.names import SERVER_RULE, is_server_name
from copilot_domain.workflows.mcp_servers.types import NewMcpServer

MAX_HEADERS: Final = 20
MAX_NAME_CHARACTERS: Final = 100
MAX_VALUE_CHARACTERS: Final = 4_096
"""A long token; servers take 8 KB of headers, of which others need a part."""

_OF_THE_CLIENT: Final = frozenset(
    ["accept", "accept-encoding", "content-encoding", "content-type", "idempotency-key", "last-event-id", "user-agent"]
)


def check_server(new: NewMcpServer, rules: EgressRules) -> None:
    """Raises InvalidInput that names each wrong field."""
    faults: dict[str, str] = {}
    if not is_server_name(new.name):
        faults["name"] = SERVER_RULE
    try:
        rules.check_url(new.url)
    except EgressRefused as error:
        faults["url"] = error.message
    if fault := _fault_of_all(new.headers):
        faults["headers"] = fault
    if faults:
        raise InvalidInput(faults)


def _fault_of_all(headers: dict[str, str]) -> str | None:
    if len(headers) > MAX_HEADERS:
        return f"may have {MAX_HEADERS} entries"
    if len({name.lower() for name in headers}) < len(headers):
        return "names a header twice; upper and lower case are the same"
    return next((fault for name, value in headers.items() if (fault := _fault_of_one(name, value))), None)


def _fault_of_one(name: str, value: str) -> str | None:
    """Of a name that may be anything, so it is shown only once it is known to be one."""
    if len(name) > MAX_NAME_CHARACTERS or len(value) > MAX_VALUE_CHARACTERS:
        return f"may have names of {MAX_NAME_CHARACTERS} characters and values of {MAX_VALUE_CHARACTERS}"
    if not value.isascii():
        return "may have values of ASCII characters only"
    try:
        check_header(name, value)
    except EgressRefused as error:
        return error.message
    if name.lower() in _OF_THE_CLIENT or name.lower().startswith("mcp-"):
        return f"may not set {name}: the client of MCP servers does"
    return None
