from support.api import shared_api, site, start_api
from support.collector import collector
from support.simulator import simulator
from support.workers import workers

__all__ = ["collector", "shared_api", "simulator", "site", "start_api", "workers"]
