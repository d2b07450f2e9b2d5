"""The routes of /jobs. They are for the tenant's admins."""

from collections.abc import Iterator
from uuid import UUID

from copilot_cli.client.http import Http
from copilot_cli.client.pages import V1, items
from copilot_cli.client.types import Job, Page, Redriven


class JobRoutes:
    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, limit: int, *, queue: str | None = None, status: str | None = None) -> Iterator[Job]:
        """Newest first."""
        return items(self._http, f"{V1}/jobs", Page[Job], limit, {"queue": queue, "status": status})

    def show(self, job_id: UUID) -> Job:
        return self._http.get(f"{V1}/jobs/{job_id}", Job)

    def redrive(self, job_id: UUID) -> Redriven:
        """A dead job begins anew."""
        return self._http.post(f"{V1}/jobs/{job_id}/redrive", None, Redriven)
