"""What the load generator is asked to do, and what it found: JSON between two processes."""

from typing import Literal

import msgspec

from bench.percentiles import Summary

# The simulator's words are `word0 word1 …`: each carries this mark once, whatever format it travels in.
TOKEN_MARK = b"word"


class Target(msgspec.Struct, kw_only=True):
    """A server, and the POST to send it: the n-th body for the n-th turn of a conversation, the last one from there on.

    With `conversations`, `path` contains `{conversation}`: a new one is made (POST to `conversations`) after every
    `turns` requests of a client.

    `is_spread`: each client begins elsewhere among the bodies. All would else send the same one at the same time.
    `headers_each`: besides `headers`, the first ones for the first client, and so on, in a circle.
    """

    host: str
    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    conversations: str | None = None
    turns: int = 10
    is_spread: bool = False
    headers_each: list[dict[str, str]] = []


class Job(msgspec.Struct, kw_only=True):
    """`closed`: each client sends its next request when the last one is answered; what ends within `seconds`, after
    `warm_up_seconds`, counts.

    `stock` is how many conversations each client makes before the clock starts, so that they are not made within it.

    `once`: each client sends one request; they start evenly over `ramp_seconds`.
    `tokens` is how many each streamed answer must carry (0: not streamed); `pace_ms` is what the gaps are held against.
    """

    mode: Literal["closed", "once"]
    target: Target
    clients: int
    seconds: float = 0.0
    warm_up_seconds: float = 0.0
    ramp_seconds: float = 0.0
    stock: int = 0
    tokens: int = 0
    pace_ms: float = 0.0


class Outcome(msgspec.Struct, kw_only=True):
    """Times in milliseconds. `requests` counts those outside the time window too.

    `gap_excess` is each wait between two tokens minus the pace; early ones are negative;
    `steady` are those while every stream was open.

    `cpu_share` is the generator's own use of one core: near 1.0 it has measured itself.
    """

    requests: int
    completed: int
    seconds: float
    per_second: float
    failures: dict[str, int]
    latency_ms: Summary
    first_token_ms: Summary
    gap_excess_ms: Summary
    steady_gap_excess_ms: Summary
    cpu_share: float
