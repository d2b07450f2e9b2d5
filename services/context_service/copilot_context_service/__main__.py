"""`python -m copilot_context_service`: the context service process."""

import sys

import uvloop

from copilot_common.base.errors import SettingsError
from copilot_common.platform.background import stand_back_together
from copilot_common.platform.settings import load_settings
from copilot_context_service.worker import SERVICE, run


def main() -> None:
    stand_back_together()
    try:
        settings = load_settings()
        uvloop.run(run(settings))
    except SettingsError as error:
        sys.exit(f"{SERVICE}: {error.message}")


if __name__ == "__main__":
    main()
