"""How long and how much: fixed numbers, so that two runs can be compared."""

import msgspec

# 20 tokens at once: what a non-streamed answer and the throughput are measured with.
INSTANT = "sim"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`rounds` of each contender alternate (A B A B), so that a machine that slows down slows both.

    All counts are of one round. `slow_dispatches`: of a peer that polls twice a second. `pause_ms`: at least so long,
    at most twice that, between two jobs for an idle worker (for a peer that polls: and a poll, at most).

    `chunks`: of all tenants that searches are measured in. `cranfield`: the folder of that collection's files; without
    it the quality of searches is not measured.
    """

    rounds: int = 3
    warm_up_seconds: float = 1.0
    clients: int = 16
    plain_seconds: float = 6.0
    single_seconds: float = 3.0
    first_token_script: str = "sim,tokens=20,pace_ms=2"
    first_token_tokens: int = 20
    streams: int = 500
    stream_tokens: int = 60
    pace_ms: int = 250
    ramp_seconds: float = 5.0
    dispatches: int = 100
    slow_dispatches: int = 12
    pause_ms: float = 30.0
    jobs: int = 3_000
    enqueues: int = 500
    documents: int = 60
    searches: int = 100
    runs: int = 640
    single_runs: int = 40
    posts: int = 500
    iterations: int = 2_000
    idle_seconds: float = 20.0
    parked_jobs: int = 100_000
    depth_reads: int = 200
    chunks: int = 100_000
    recall_questions: int = 100
    sql_searches: int = 200
    api_seconds: float = 6.0
    chat_seconds: float = 25.0
    cranfield: str = ""

    @property
    def slow_script(self) -> str:
        return f"sim,tokens={self.stream_tokens},pace_ms={self.pace_ms}"


FULL = Plan()
QUICK = Plan(
    rounds=1,
    plain_seconds=3.0,
    single_seconds=2.0,
    stream_tokens=32,
    dispatches=200,
    jobs=1_500,
    runs=320,
    single_runs=20,
    posts=200,
    iterations=1_000,
    idle_seconds=10.0,
    chunks=6_000,
    recall_questions=50,
    sql_searches=100,
    api_seconds=3.0,
    chat_seconds=2.0,
)
