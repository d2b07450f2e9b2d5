"""TCP ports on the loopback: which are free, who holds the others."""

import random
import socket

import psutil

from copilot_devstack.errors import StackError

LOOPBACK = "127.0.0.1"
# Below Linux's and macOS's ephemeral ranges, so that no outgoing connection sits on a remembered port.
_OWN_PORTS = range(20_000, 30_000)
_TRIES = 200


def is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # The servers set it too: connections lingering from their last run do not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port nobody listens on now. Someone may take it before the caller does: check again on failure."""
    for port in random.sample(_OWN_PORTS, _TRIES):
        if is_free(port):
            return port
    raise StackError(f"No free port found between {_OWN_PORTS.start} and {_OWN_PORTS.stop - 1}.")


def next_free_port(first: int, *, tries: int = 100, host: str = LOOPBACK) -> int:
    for port in range(first, min(first + tries, 65_536)):
        if is_free(port, host):
            return port
    raise StackError(f"No free port found from {first} upward. Name one: PORT=9000 copilot up")


def listens(pid: int, port: int) -> bool:
    """True when that very process listens there: an answer from the port may come from somebody else's."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in connections)


def holder(port: int) -> str | None:
    """`nginx, pid 812` for the process that listens there, where the system lets us see it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid is not None:
                return f"{psutil.Process(connection.pid).name()}, pid {connection.pid}"
    except psutil.Error:
        return None
    return None
