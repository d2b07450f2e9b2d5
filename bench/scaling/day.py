"""A day's load, made of what was recorded: everyday traffic end to end, as much of it as the hour has; in between,
bursts, which are not stretched: what they do depends on how dense they are."""

from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.scaling.recording import Episode, Recording

Counts = npt.NDArray[np.float64]

DAY_SECONDS = 86_400
_HOUR_SECONDS = 3_600

# Of the busiest hour, from midnight on: an office's day, as telephone exchanges and web servers see it.
_HOURS = (
    *(0.12, 0.09, 0.08, 0.08, 0.09, 0.14, 0.25, 0.45, 0.75, 0.95, 1.00, 0.95),
    *(0.75, 0.85, 0.98, 1.00, 0.92, 0.75, 0.55, 0.42, 0.36, 0.30, 0.23, 0.16),
)
# How often within a day; where, the seed decides, rather in busy hours. `hour` comes with the clock, from 7 to 19.
_BURSTS = {"rush": 10, "batch": 10, "import": 8}
_CLOCK_HOURS = range(7, 20)
# How many times as large as recorded: mostly once, sometimes eight times.
_SIZES = (1, 1, 1, 2, 2, 4, 8)


class Job(NamedTuple):
    """Seconds of the day, and from start to end."""

    created: float
    ran: float
    tenant: int


@dataclass(frozen=True)
class Peak:
    """How many times the recorded everyday traffic is there in the busiest hour."""

    requests: float
    jobs: float
    chunks: float


@dataclass(frozen=True)
class Day:
    """`requests`, `chunks`: in each second. `jobs` by time."""

    requests: Counts
    jobs: list[Job]
    chunks: Counts


def share_of_peak(second: float) -> float:
    hour = second / _HOUR_SECONDS % 24
    return float(np.interp(hour, range(25), (*_HOURS, _HOURS[0])))


def make_day(recording: Recording, peak: Peak, *, seed: int, seconds: int = DAY_SECONDS) -> Day:
    """The same for the same seed. `seconds`: everyday traffic ends then."""
    maker = _Maker(recording, np.random.default_rng(seed))
    everyday = recording.episodes["everyday"]
    length = len(everyday.requests)
    for begin in range(0, seconds, length):
        share = share_of_peak(begin + length / 2)
        maker.fill(everyday, begin, Peak(peak.requests * share, peak.jobs * share, peak.chunks * share))
    for name, begin, times in maker.bursts():
        maker.burst(recording.episodes[name], begin, times)
    return maker.day()


class _Maker:
    def __init__(self, recording: Recording, chance: np.random.Generator) -> None:
        self._chance = chance
        self._requests, self._chunks = np.zeros(DAY_SECONDS), np.zeros(DAY_SECONDS)
        self._jobs: list[Job] = []
        self._tenants = 1 + max(job.tenant for one in recording.episodes.values() for job in one.jobs)

    def fill(self, episode: Episode, begin: int, times: Peak) -> None:
        """Copies that begin at different places of the recording, the last one thinned out."""
        length = len(episode.requests)
        for share in _copies(times.requests):
            turned = np.roll(episode.requests, self._chance.integers(length))
            self._add(self._requests, begin, self._chance.binomial(turned, share))
        for share in _copies(times.chunks):
            kept = self._chance.random(len(episode.documents)) < share
            turn = self._chance.integers(length)
            for document in compress(episode.documents, kept):
                self._add(self._chunks, begin + int(document.created + turn) % length, [document.chunks])
        for share in _copies(times.jobs):
            self._fill_jobs(episode, begin, share)

    def burst(self, episode: Episode, begin: int, times: int) -> None:
        """`times` copies at once, by tenants that do nothing else."""
        self._add(self._requests, begin, times * np.array(episode.requests))
        for document in episode.documents:
            self._add(self._chunks, begin + int(document.created), [times * document.chunks])
        base, self._tenants = self._tenants, self._tenants + 1 + max((job.tenant for job in episode.jobs), default=0)
        self._jobs += [Job(begin + job.created, job.ran, base + job.tenant) for job in episode.jobs * times]

    def bursts(self) -> list[tuple[str, int, int]]:
        """Name, second and size of each."""
        seconds = np.arange(0, DAY_SECONDS - _HOUR_SECONDS, 60)
        shares = np.array([share_of_peak(float(second)) for second in seconds])
        found = [("hour", hour * _HOUR_SECONDS, self._size()) for hour in _CLOCK_HOURS]
        for name, count in _BURSTS.items():
            moments = self._chance.choice(seconds, count, replace=False, p=shares / shares.sum())
            found += [(name, int(moment), self._size()) for moment in moments]
        return found

    def day(self) -> Day:
        jobs = sorted(job for job in self._jobs if job.created < DAY_SECONDS)
        return Day(self._requests, jobs, self._chunks)

    def _fill_jobs(self, episode: Episode, begin: int, share: float) -> None:
        length, turn = len(episode.requests), float(self._chance.random()) * len(episode.requests)
        kept = self._chance.random(len(episode.jobs)) < share
        self._jobs += [
            Job(begin + (job.created + turn) % length, job.ran, job.tenant) for job in compress(episode.jobs, kept)
        ]

    def _add(self, seconds: Counts, begin: int, counts: npt.ArrayLike) -> None:
        """What would come after midnight is left out."""
        values = np.asarray(counts, dtype=float)[: DAY_SECONDS - begin]
        seconds[begin : begin + len(values)] += values

    def _size(self) -> int:
        return int(self._chance.choice(_SIZES))


def _copies(times: float) -> list[float]:
    """2.3 times: two whole ones, and one of which three tenths are kept."""
    return [1.0] * int(times) + [times % 1]
