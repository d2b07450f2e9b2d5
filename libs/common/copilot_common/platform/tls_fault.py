"""Why PostgreSQL is not reached over TLS, in a sentence.

libpq tells it only in a text for people. So the same handshake is tried once more, by means whose errors carry codes.
"""

import os
import socket
import ssl
import struct
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL's protocol, SSLRequest: length and code
_SECONDS = 3.0
_DEFAULT_CA = "~/.postgresql/root.crt"  # libpq's
_WANTING_TLS = frozenset({"require", "verify-ca", "verify-full"})
# OpenSSL's X509_V_ERR_…
_BY_VERIFY_CODE = {
    9: "the server's certificate is not valid yet: compare the clocks",
    10: "the server's certificate has expired: renew it",
    62: "the server's certificate is for another host name than the URL's: name that one, or have one made for this",
    64: "the server's certificate is for another address than the URL's: name its host instead",
}
_UNKNOWN_CA = "the server's certificate is not signed by a CA in sslrootcert: put the CA that signed it there"
_NO_CA = "sslrootcert names no readable file of certificates: put the CA's there"
_NO_TLS = (
    "the server offers no TLS, which the URL's sslmode wants: ssl = on in PostgreSQL, client_tls_sslmode in PgBouncer"
)


def tls_fault(url: str) -> str | None:
    """None where TLS is not what is wrong, or not wanted. Blocks for a few seconds at most; names no host, no user."""
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except ProgrammingError:
        return None
    host, port = given.get("hostaddr") or given.get("host", ""), given.get("port") or "5432"
    if given.get("sslmode") not in _WANTING_TLS or host.startswith("/") or "," in host + port:
        return None
    try:
        context = _context(given)
    except (OSError, ssl.SSLError):
        return _NO_CA
    try:
        with socket.create_connection((host, int(port)), timeout=_SECONDS) as connection:
            return _handshake(connection, context, given.get("host", host))
    except (OSError, ValueError):
        return None  # not even a connection, or an end to it that says nothing; no port, or no host's name


def _context(given: dict[str, str]) -> ssl.SSLContext:
    """As libpq does: `require` verifies where there is something to verify with."""
    authorities, mode = given.get("sslrootcert") or os.path.expanduser(_DEFAULT_CA), given["sslmode"]
    is_unverified = mode == "require" and not Path(authorities).is_file()
    context = ssl.create_default_context(cafile=None if authorities == "system" or is_unverified else authorities)
    context.check_hostname = mode == "verify-full"
    if is_unverified:
        context.verify_mode = ssl.CERT_NONE
    return context


def _handshake(connection: socket.socket, context: ssl.SSLContext, host: str) -> str | None:
    connection.sendall(_SSL_REQUEST)
    answer = connection.recv(1)
    if answer != b"S":
        return _NO_TLS if answer == b"N" else None  # a load balancer without a server says nothing
    try:
        with context.wrap_socket(connection, server_hostname=host):
            return None
    except ssl.SSLCertVerificationError as error:
        return _BY_VERIFY_CODE.get(error.verify_code, _UNKNOWN_CA)
