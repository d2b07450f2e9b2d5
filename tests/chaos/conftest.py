from support.api import start_api
from support.simulator import simulator
from support.workers import workers

__all__ = ["simulator", "start_api", "workers"]
