from collections.abc import AsyncIterator

import pytest

from copilot_common.expressions.evaluator import Evaluator, expression_sandbox


@pytest.fixture
async def evaluator() -> AsyncIterator[Evaluator]:
    sandbox = expression_sandbox(size=2)
    await sandbox.start()
    yield Evaluator(sandbox)
    await sandbox.stop()
