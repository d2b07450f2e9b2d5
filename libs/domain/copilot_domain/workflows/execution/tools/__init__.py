"""The tools that `tool` steps call."""
