"""Runs a job and sums up its samples."""

import asyncio
from collections import Counter
from time import perf_counter, process_time

from bench.load.client import Client, Sample, Unexpected
from bench.load.http1 import BadResponse
from bench.load.job import Job, Outcome
from bench.percentiles import summarise

_AT_ONCE = 16  # connections and conversations made at the same time while a `once` job is prepared
_FAILURE_PAUSE_SECONDS = 0.05  # a server that refuses everything must not be flooded


class Generator:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._clients = [Client(job.target, job.tokens) for _ in range(job.clients)]
        self._samples: list[Sample] = []
        self._failures: Counter[str] = Counter()

    async def run(self) -> Outcome:
        try:
            return await (self._closed() if self._job.mode == "closed" else self._once())
        finally:
            for client in self._clients:
                client.close()

    async def _closed(self) -> Outcome:
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
        excess = [gap * 1000 - self._job.pace_ms for sample in samples for gap in sample.gaps]
        return Outcome(
            completed=len(samples),
            seconds=seconds,
            per_second=len(samples) / seconds,
            failures=dict(self._failures),
            latency_ms=summarise([(sample.ended - sample.began) * 1000 for sample in samples]),
            first_token_ms=summarise([first * 1000 for first in firsts]),
            gap_excess_ms=summarise(excess if self._job.pace_ms else []),
            cpu_share=cpu_seconds / seconds,
        )
