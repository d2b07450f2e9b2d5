from support.simulator import simulator

__all__ = ["simulator"]
