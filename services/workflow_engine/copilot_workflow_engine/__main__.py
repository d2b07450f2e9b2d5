"""`python -m copilot_workflow_engine`: the workflow engine process."""

import sys

import uvloop

from copilot_common.base.errors import SettingsError
from copilot_common.platform.settings import load_settings
from copilot_workflow_engine.worker import SERVICE, run


def main() -> None:
    try:
        settings = load_settings()
        uvloop.run(run(settings))
    except SettingsError as error:
        sys.exit(f"{SERVICE}: {error.message}")


if __name__ == "__main__":
    main()
