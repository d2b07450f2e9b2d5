"""Runs a job and sums up its samples."""

import asyncio
import math
from collections import Counter
from itertools import pairwise
from time import perf_counter, process_time

import msgspec

from bench.load.client import Client, Sample, Unexpected
from bench.load.http1 import BadResponse
from bench.load.job import Job, Outcome, Target
from bench.percentiles import summarise

_AT_ONCE = 16  # connections and conversations made at the same time while a `once` job is prepared
_FAILURE_PAUSE_SECONDS = 0.05  # a server that refuses everything must not be flooded


class Generator:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._clients = [Client(_of_client(job, number), job.tokens) for number in range(job.clients)]
        self._samples: list[Sample] = []
        self._failures: Counter[str] = Counter()

    async def run(self) -> Outcome:
        try:
            return await (self._closed() if self._job.mode == "closed" else self._once())
        finally:
            for client in self._clients:
                client.close()

    async def _closed(self) -> Outcome:
        await asyncio.gather(*(client.fill_stock(self._job.stock) for client in self._clients))
        begin = perf_counter() + self._job.warm_up_seconds
        end = begin + self._job.seconds
        everyone = asyncio.gather(*(self._repeat(client, end) for client in self._clients))
        await asyncio.sleep(max(0.0, begin - perf_counter()))
        cpu = process_time()
        await asyncio.sleep(max(0.0, end - perf_counter()))
        cpu = process_time() - cpu
        await everyone
        within = [sample for sample in self._samples if begin <= sample.ended < end]
        return self._outcome(within, self._job.seconds, cpu)

    async def _repeat(self, client: Client, end: float) -> None:
        while perf_counter() < end:
            await self._sample(client, prepare=True)

    async def _once(self) -> Outcome:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def prepare(client: Client) -> None:
            async with gate:
                await client.prepare()

        await asyncio.gather(*(prepare(client) for client in self._clients))
        step = self._job.ramp_seconds / len(self._clients)
        began, cpu = perf_counter(), process_time()
        await asyncio.gather(*(self._sample_after(step * index, client) for index, client in enumerate(self._clients)))
        return self._outcome(self._samples, perf_counter() - began, process_time() - cpu)

    async def _sample_after(self, delay_seconds: float, client: Client) -> None:
        await asyncio.sleep(delay_seconds)
        await self._sample(client, prepare=False)

    async def _sample(self, client: Client, *, prepare: bool) -> None:
        try:
            if prepare:
                await client.prepare()
            self._samples.append(await client.send())
        except (Unexpected, BadResponse, OSError) as error:
            self._failures[str(error) or type(error).__name__] += 1
            client.forget()
            await asyncio.sleep(_FAILURE_PAUSE_SECONDS)

    def _outcome(self, samples: list[Sample], seconds: float, cpu_seconds: float) -> Outcome:
        firsts = [sample.tokens[0] - sample.began for sample in samples if sample.tokens]
        return Outcome(
            requests=len(self._samples),
            completed=len(samples),
            seconds=seconds,
            per_second=len(samples) / seconds,
            failures=dict(self._failures),
            latency_ms=summarise([(sample.ended - sample.began) * 1000 for sample in samples]),
            first_token_ms=summarise([first * 1000 for first in firsts]),
            gap_excess_ms=summarise(self._gap_excess_ms(samples)),
            steady_gap_excess_ms=summarise(self._gap_excess_ms(samples, steady=True)),
            cpu_share=cpu_seconds / seconds,
        )

    def _gap_excess_ms(self, samples: list[Sample], *, steady: bool = False) -> list[float]:
        """`steady`: only gaps that end between the last stream's first token and the first stream's last."""
        streams = [sample.tokens for sample in samples if len(sample.tokens) > 1 and self._job.pace_ms]
        if not streams:
            return []
        begin = max(tokens[0] for tokens in streams) if steady else 0.0
        end = min(tokens[-1] for tokens in streams) if steady else math.inf
        return [
            (later - earlier) * 1000 - self._job.pace_ms
            for tokens in streams
            for earlier, later in pairwise(tokens)
            if begin <= later <= end
        ]


def _of_client(job: Job, number: int) -> Target:
    target = job.target
    headers, bodies = target.headers, target.bodies
    if target.headers_each:
        headers = headers | target.headers_each[number % len(target.headers_each)]
    if target.is_spread:
        first = number * len(bodies) // job.clients
        bodies = bodies[first:] + bodies[:first]
    return msgspec.structs.replace(target, headers=headers, bodies=bodies)
