"""Workers that are lost, and how long it took until what they had was somebody else's."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median_high
from typing import Any

import psycopg

from support.api import Site
from support.clients import eventually
from support.workers import WorkerProcess

# What a job went through, written by the database itself: claims cannot be missed between two looks.
_WATCH = """
CREATE TABLE chaos_claims (job_id uuid, fence integer, lapses integer, started_at timestamptz);
CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.chaos_claims VALUES (NEW.id, NEW.fence, NEW.lapses, NEW.started_at);
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_note AFTER UPDATE ON jobs FOR EACH ROW WHEN (NEW.fence > OLD.fence) EXECUTE FUNCTION chaos_note();
"""
_RUNNING = "SELECT id::text, fence FROM jobs WHERE process_id = %s AND status = 'running'"
_NEXT = """
SELECT c.started_at FROM chaos_claims c
JOIN (VALUES (%s::uuid, %s, %s::timestamptz)) AS l (job_id, fence, lost_at) USING (job_id, fence)
WHERE c.lapses <= 1 AND c.started_at > l.lost_at AND NOT EXISTS (
    SELECT FROM chaos_claims a WHERE a.lapses >= 2 AND a.started_at BETWEEN l.lost_at AND c.started_at)
"""
_PROMISED = timedelta(seconds=10)
_LONGEST = timedelta(seconds=20)  # other tests may have the processors just then
_AFTER_AWAY = timedelta(seconds=8)  # for six of which no lease is judged


@dataclass
class _Loss:
    at: datetime
    claims: list[tuple[str, int]]


@dataclass
class Losses:
    """Moments are of the database's clock."""

    site: Site
    kills: int = 0
    _losses: list[_Loss] = field(default_factory=list)
    _away: list[tuple[datetime, datetime]] = field(default_factory=list)

    def watch(self) -> None:
        self.site.rows(_WATCH)

    async def kill(self, worker: WorkerProcess) -> None:
        claims = self.claims(worker)
        worker.kill()
        self.kills += 1
        await self.note(claims)

    def claims(self, worker: WorkerProcess) -> list[tuple[str, int]]:
        """Job and fence; none while PostgreSQL is away."""
        try:
            return [(row[0], row[1]) for row in self.site.rows(_RUNNING, worker.process_id)]
        except psycopg.OperationalError:
            return []

    async def note(self, claims: list[tuple[str, int]]) -> None:
        """They were lost just now."""
        self._losses.append(_Loss(await self.now(), claims))

    def note_away(self, start: datetime, end: datetime) -> None:
        """PostgreSQL was."""
        self._away.append((start, end))

    def takeovers(self) -> list[timedelta]:
        """From each loss to the next claim of what was lost; but those in which PostgreSQL was away, jobs that must run
        alone, and those that such a one has kept an engine from."""
        return [
            row[0] - loss.at
            for loss in self._losses
            if not any(start - _LONGEST < loss.at < end + _AFTER_AWAY for start, end in self._away)
            for job, fence in loss.claims
            for row in self.site.rows(_NEXT, job, fence + 1, loss.at)
        ]

    async def now(self) -> datetime:
        """Once PostgreSQL is there."""

        async def asked() -> Any:
            try:
                return self.site.rows("SELECT clock_timestamp()")
            except psycopg.OperationalError:
                return None

        ((now,),) = await eventually(asked, seconds=30, what="PostgreSQL")
        assert isinstance(now, datetime)
        return now


def check_takeovers(found: list[timedelta]) -> None:
    assert found, "nothing was taken over: nothing was proved"
    assert median_high(found) <= _PROMISED
    assert max(found) <= _LONGEST
