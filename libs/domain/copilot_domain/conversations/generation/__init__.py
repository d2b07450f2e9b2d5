"""One answer's life: started, generated, checkpointed, finished or swept, and followed by its readers."""

from copilot_domain.conversations.generation.background import BackgroundGenerator
from copilot_domain.conversations.generation.log import StreamLog
from copilot_domain.conversations.generation.running import RunningGeneration
from copilot_domain.conversations.generation.service import GenerationService

__all__ = ["BackgroundGenerator", "GenerationService", "RunningGeneration", "StreamLog"]
