"""What a server may answer instead of a result. What egress refuses or fails to do has its own errors."""

from copilot_common.base.errors import EgressFailed


class ServerRefused(Exception):
    """An HTTP status that is no success, in answer to a message of ours."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ServerReported(Exception):
    """A JSON-RPC error. Its text is the server's, so it is not kept."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def not_mcp() -> EgressFailed:
    return EgressFailed("protocol", "The server's answer is not valid MCP.")


def broke_off() -> EgressFailed:
    return EgressFailed("disconnected", "The session with the server broke off.")
