"""What the simulator is asked to do, read from the model id."""

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=100_000)]
Milliseconds = Annotated[float, Meta(ge=0, le=600_000)]
Fault = Literal["none", "status", "stall", "cut", "malformed", "error_event", "short", "infinite"]
Finish = Literal["stop", "length", "content_filter"]


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`sim,tokens=3,fault=cut,after=2`: every field may follow the model's name as `,field=value`.

    tokens       words in the answer, each its own event
    first_ms     silence before the first word; pace_ms before each further one
    tool         call this tool (with `{"input": <last user text>}`), until the request carries its result
    cite         end the answer with `[cite]`
    finish       why the answer ends
    fault        status: answer with `status` (and `retry_after` seconds); stall, cut, malformed, error_event: after
                 `after` words say nothing more, break the connection, send broken JSON, send the format's error event;
                 of embeddings and scores: short leaves the last one out, infinite has a number in it that is none
    times        only the first so many requests with this model id meet the fault; 0 is all of them
    refuse       answer 400 to a body that has this field
    dimensions   of an embedding, where the request leaves them to the model
    input, cached, reasoning     token counts to report; usage=0 reports none
    key          makes the model id, and so its requests in /_sim/requests, unique
    """

    tokens: Count = 20
    first_ms: Milliseconds = 0
    pace_ms: Milliseconds = 0
    tool: str = ""
    cite: Count = 0
    finish: Finish = "stop"
    fault: Fault = "none"
    status: Annotated[int, Meta(ge=400, le=599)] = 500
    retry_after: float | None = None
    after: Count = 0
    times: Count = 0
    refuse: str = ""
    dimensions: Annotated[int, Meta(ge=1, le=4_000)] = 64
    input: Count = 10
    cached: Count = 0
    reasoning: Count = 0
    usage: bool = True
    key: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        words = [f"word{index} " for index in range(self.tokens)]
        return (*words, f"[{self.cite}]") if self.cite else tuple(words)

    @property
    def output(self) -> int:
        return self.tokens + self.reasoning


@lru_cache(maxsize=4096)
def parse_script(model: str) -> Script:
    """Raises ValueError for an unknown field or a value out of range."""
    fields = dict(part.partition("=")[::2] for part in model.split(",")[1:])
    return msgspec.convert(fields, Script, strict=False)
