"""Reading what steps have given: from their rows, or from the blob store where it is large."""

from collections.abc import Sequence
from uuid import UUID

from copilot_common.blobs import BlobStore
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.tenancy import Principal, TenantDatabase
from copilot_domain.workflows.runs.repository import CopiedStepRow, OutputRow, StepRunRow, sql, step_key
from copilot_domain.workflows.state import Path

MAX_OUTPUT_BYTES = 8 * 1024 * 1024
"""Of one step, encoded: more fails the step."""

_READ_AT_ONCE = 500


class OutputReader:
    """Reads outputs of any run of the tenant."""

    def __init__(self, db: TenantDatabase, blobs: BlobStore, principal: Principal, cipher: TenantCipher) -> None:
        self._db = db
        self._blobs = blobs
        self._principal = principal
        self._cipher = cipher

    async def read(self, run_id: UUID, paths: Sequence[Path]) -> dict[Path, bytes]:
        """Encoded, of those that have one."""
        rows: list[OutputRow] = []
        for first in range(0, len(paths), _READ_AT_ONCE):
            params = {
                "tenant_id": self._principal.tenant_id,
                "run_id": run_id,
                "paths": list(paths[first : first + _READ_AT_ONCE]),
            }
            async with self._db.transaction(self._principal) as tx:
                rows += await tx.fetch_all(OutputRow, sql["outputs"], params)
        return {row.path: data for row in rows if (data := await self.open(run_id, row)) is not None}

    async def open(self, run_id: UUID, row: OutputRow | StepRunRow | CopiedStepRow) -> bytes | None:
        """Of one attempt, encoded."""
        if row.output_blob is not None:
            return await self._blobs.read_all(self._principal, row.output_blob, max_bytes=MAX_OUTPUT_BYTES)
        if row.output_sealed is None:
            return None
        return self._cipher.open(Purpose.STEP_OUTPUT, step_key(run_id, row.path, row.attempt), row.output_sealed)
