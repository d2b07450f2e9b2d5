"""Whether what tenants write can be worked on in processes that are locked down."""

from copilot_cli.checks.report import Check, fail, ok, warn
from copilot_common.base.errors import CopilotError
from copilot_common.expressions.evaluator import Evaluator, expression_sandbox
from copilot_common.expressions.source import Template


async def check_sandbox() -> Check:
    """Starts a child, as the services do, and asks it something."""
    sandbox = expression_sandbox(size=1)
    await sandbox.start()
    try:
        await Evaluator(sandbox).check([Template("{{ 1 }}")])
    except CopilotError as error:
        return fail("sandbox", f"no child process works ({error.message})", "A service's log names what it met.")
    finally:
        await sandbox.stop()
    lockdown = sandbox.lockdown
    if lockdown is None or not lockdown.seccomp or not lockdown.landlock_abi:
        advice = "Limits hold, some of the kernel's walls don't: Linux 5.13 has both, where a container may use them."
        return warn("sandbox", str(lockdown), advice)
    return ok("sandbox", f"children run under {lockdown}")
