"""How a call ends that a child did not answer."""

from typing import Literal

from copilot_common.base.errors import CopilotError

KillReason = Literal["time", "memory", "output", "died"]

_SENTENCES: dict[KillReason, str] = {
    "time": "The work took longer than allowed.",
    "memory": "The work needed more memory than allowed.",
    "output": "The result is larger than allowed.",
    "died": "The process that did the work has ended.",
}


class SandboxKilled(CopilotError):
    """The same request is likely to end the same way. `died` is the only reason that may not be the request's doing."""

    def __init__(self, reason: KillReason) -> None:
        super().__init__(_SENTENCES[reason], details={"reason": reason})
        self.reason: KillReason = reason
