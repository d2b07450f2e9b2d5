"""Where a new password comes from: a variable, the terminal, or chance."""

import os
import secrets
import sys
from dataclasses import dataclass, field

import typer

from copilot_common.base.errors import SettingsError
from copilot_common.platform.secret_files import read_secret_files

VARIABLE = "COPILOT_PASSWORD"
_GENERATED_BYTES = 18


@dataclass(frozen=True)
class ChosenPassword:
    """`is_generated`: it must be shown, once."""

    text: str = field(repr=False)
    is_generated: bool = False


def choose_password(*, generate: bool, whose: str) -> ChosenPassword:
    """Raises SettingsError where nobody can be asked, or a file that is named can't be read."""
    if generate:
        return ChosenPassword(secrets.token_urlsafe(_GENERATED_BYTES), is_generated=True)
    given = read_secret_files(os.environ).get(VARIABLE)
    if given:
        return ChosenPassword(given)
    if not sys.stdin.isatty():
        raise SettingsError(f"{VARIABLE} is missing: the password of {whose}; or use --generate-password")
    return ChosenPassword(typer.prompt(f"Password of {whose}", hide_input=True, confirmation_prompt=True, err=True))
