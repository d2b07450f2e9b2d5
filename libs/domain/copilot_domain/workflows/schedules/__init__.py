"""Runs that begin at times a cron expression names. `watching` has the engine's part."""
