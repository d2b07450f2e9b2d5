"""`python -m copilot_api`: the API process."""

import sys

import uvloop

from copilot_api.composition import run
from copilot_common.base.errors import SettingsError
from copilot_common.platform.scheduling import come_first
from copilot_common.platform.settings import load_settings


def main() -> None:
    come_first()
    try:
        settings = load_settings()
        uvloop.run(run(settings))
    except SettingsError as error:
        sys.exit(f"api-server: {error.message}")


if __name__ == "__main__":
    main()
