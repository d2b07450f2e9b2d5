"""The peers' virtual environment."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".peers-venv"
REQUIREMENTS = ("litellm[proxy]==1.106.2", "arq==0.28.0", "redis<6", "dbos==3.4.0")
_INSTALL_SECONDS = 900


def program(name: str) -> Path | None:
    """None where it is not installed."""
    path = FOLDER / "bin" / name
    return path if path.exists() else None


def install() -> None:
    """Takes minutes and most of a gigabyte. Raises CalledProcessError."""
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True, timeout=_INSTALL_SECONDS)
    pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS]
    subprocess.run(pip, check=True, timeout=_INSTALL_SECONDS)
