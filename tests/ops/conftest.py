"""What needs packages of the distribution: `make test-ops`. `make test` leaves it out."""

from support.api import site, start_api
from support.simulator import simulator
from support.workers import workers

__all__ = ["simulator", "site", "start_api", "workers"]
