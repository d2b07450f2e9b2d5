"""The handlers of `context.reembed` and `context.forget`."""

from copilot_common.base.errors import ProviderError
from copilot_common.queue import Job, JobFailed, JobLost
from copilot_domain.context.ingestion.errors import describe
from copilot_domain.context.jobs import REEMBED, ForgetModel, Reembed
from copilot_domain.context.reembedding.embedders import ModelUnavailable
from copilot_domain.context.reembedding.forgetting import ModelForgetter
from copilot_domain.context.reembedding.walking import Reembedder


class IndexReembedder:
    """Called with the job. A model that is not configured, or whose provider refuses, ends it at once; other failures
    do when they are too many."""

    def __init__(self, reembedder: Reembedder) -> None:
        self._reembedder = reembedder

    async def __call__(self, job: Job[Reembed]) -> None:
        try:
            await self._reembedder.reembed(job)
        except JobLost:
            raise
        except Exception as error:
            if isinstance(error, ProviderError) and error.is_final:
                code, text = _explain(error)
                await self._reembedder.fail(job, code, text)
                raise JobFailed(code, text, is_final=True) from None
            if job.failures + 1 >= REEMBED.max_failures:
                await self._reembedder.fail(job, *describe(error))
            raise


class OldVectorsForgetter:
    """Called with the job."""

    def __init__(self, forgetter: ModelForgetter) -> None:
        self._forgetter = forgetter

    async def __call__(self, job: Job[ForgetModel]) -> None:
        await self._forgetter.forget(job)


def _explain(error: ProviderError) -> tuple[str, str]:
    if isinstance(error, ModelUnavailable):
        return "MODEL_UNAVAILABLE", "This embedding model is not configured in the context service."
    return describe(error)
