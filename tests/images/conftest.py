from support.api import shared_api, site, start_api
from support.simulator import simulator

__all__ = ["shared_api", "simulator", "site", "start_api"]
