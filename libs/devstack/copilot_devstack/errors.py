"""What the development stack reports to the person at the terminal."""

from copilot_common.base.errors import CopilotError


class StackError(CopilotError):
    """The message says what to do; it may span lines when it quotes a log."""
