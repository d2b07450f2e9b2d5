from support.api import site
from support.simulator import simulator

__all__ = ["simulator", "site"]
