"""The embedded development stack: PostgreSQL, Redis and the services without Docker, root or a network.

The names are loaded when first used: every `copilot` command imports this package to find its subcommands.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from copilot_devstack.errors import StackError
    from copilot_devstack.home import Home, find_home
    from copilot_devstack.postgres import EmbeddedPostgres
    from copilot_devstack.redis import EmbeddedRedis
    from copilot_devstack.stack import Stack
    from copilot_devstack.state import DevState, load_dev_state
    from copilot_devstack.temporary import TemporaryStores

__all__ = [
    "DevState",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "Home",
    "Stack",
    "StackError",
    "TemporaryStores",
    "find_home",
    "load_dev_state",
]

_MODULES = {
    "DevState": "state",
    "EmbeddedPostgres": "postgres",
    "EmbeddedRedis": "redis",
    "Home": "home",
    "Stack": "stack",
    "StackError": "errors",
    "TemporaryStores": "temporary",
    "find_home": "home",
    "load_dev_state": "state",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
