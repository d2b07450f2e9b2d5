"""The server that steps call under chaos: it is slow now and then, and keeps who called it, and under which key."""

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import yarl

from support.receiver import Received, answer

_LATENCY_SECONDS = 0.1, 1.0  # that calls are on their way when their engine dies


@dataclass
class Calls:
    """By path, which names the run and the place in it: how often it came, and the keys it came under."""

    count: Counter[str] = field(default_factory=Counter)
    methods: dict[str, str] = field(default_factory=dict)
    keys: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    refused: set[str] = field(default_factory=set)

    async def __call__(self, request: Received, writer: asyncio.StreamWriter) -> None:
        url = yarl.URL(request.path)
        key = request.headers["idempotency-key"]
        self.count[url.path] += 1
        self.methods[url.path] = request.method
        self.keys[url.path].add(key)
        if url.name.startswith("flaky") and key not in self.refused:
            self.refused.add(key)
            await answer(status="503 Service Unavailable")(request, writer)
            return
        await asyncio.sleep(float(url.query.get("seconds", random.uniform(*_LATENCY_SECONDS))))
        await answer(url.name.encode())(request, writer)

    def check(self) -> None:
        for path, method in self.methods.items():
            assert method == "PUT" or self.count[path] == 1, f"{method} {path} came {self.count[path]} times"
            assert len(self.keys[path]) == 1, f"{path} came under {len(self.keys[path])} keys"
