"""From aiohttp's exceptions to ours: by type, never by text, which may name the address behind a name."""

import aiohttp

from copilot_common.base.errors import EgressFailed


def classify_failure(error: Exception) -> EgressFailed:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return EgressFailed("timeout", "No connection in time.")
        case aiohttp.ClientConnectorDNSError():
            return EgressFailed("dns", "The host's name leads to no address.")
        case aiohttp.ClientSSLError():
            return EgressFailed("tls", "The server's certificate or encryption is not acceptable.")
        case aiohttp.ClientConnectorError():
            return EgressFailed("connect", "The server accepts no connection.")
        case aiohttp.ClientOSError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
            return EgressFailed("disconnected", "The connection broke before the answer was complete.")
        case _:
            return EgressFailed("protocol", "The server's answer is not valid HTTP.")
