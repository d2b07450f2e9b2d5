"""What needs packages of the distribution: `make test-ops`. `make test` leaves it out."""

from support.simulator import simulator

__all__ = ["simulator"]
