"""This package's SQL."""

from copilot_common.platform.sql import Queries

sql = Queries(__package__)
