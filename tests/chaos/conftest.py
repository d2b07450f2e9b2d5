from support.api import site, start_api
from support.simulator import simulator
from support.workers import workers

__all__ = ["simulator", "site", "start_api", "workers"]
