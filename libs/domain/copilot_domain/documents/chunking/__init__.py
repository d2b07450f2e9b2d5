"""Documents cut into pieces by structure: large enough to mean something alone, small enough to be compared and cited.

Pure functions. Whoever wrote the document is not trusted: time is linear in its length whatever is in it, but for code
broken on purpose (`code`), which the child's cap ends; and nothing of it is kept after the call. Call `warm_up` before
files can no longer be opened.
"""

from copilot_domain.documents.chunking.cutting import cut, warm_up
from copilot_domain.documents.chunking.rules import ChunkRules

__all__ = ["ChunkRules", "cut", "warm_up"]
