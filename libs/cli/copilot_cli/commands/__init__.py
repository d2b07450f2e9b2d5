"""One module per command; each has `register`."""

from collections.abc import Callable

import typer

from copilot_cli.commands import (
    archive,
    ask,
    backup,
    bootstrap,
    chat,
    context,
    conversations,
    doctor,
    jobs,
    key,
    migrate,
    models,
    restore,
    tenant,
    usage,
    user,
    workflow,
)

ALL_COMMANDS: tuple[Callable[[typer.Typer], None], ...] = (
    ask.register,
    chat.register,
    conversations.register,
    context.register,
    workflow.register,
    jobs.register,
    models.register,
    usage.register,
    key.register,
    doctor.register,
    migrate.register,
    bootstrap.register,
    backup.register,
    restore.register,
    archive.register,
    tenant.register,
    user.register,
)
"""In the order in which `copilot --help` lists them."""
