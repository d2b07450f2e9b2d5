"""The load generator: a process of its own, so that its work is not the servers' and does not wait for them.

`runner.generate` sends a `Job` to `python -m bench.load` and gets its `Outcome` back.
"""
