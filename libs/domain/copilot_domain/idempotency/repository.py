"""Rows of `idempotency_keys`."""

from dataclasses import dataclass
from uuid import UUID

from copilot_common.base.ids import ProcessId
from copilot_common.platform.sql import Queries
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.idempotency.requests import Claim, IdempotentRequest

_sql = Queries(__package__)


@dataclass(frozen=True, slots=True)
class Earlier:
    """`status` is None while the first request runs; a lapsed one may be taken over."""

    id: UUID
    request_hash: bytes
    status: int | None
    body_sealed: bytes | None
    resource_id: UUID | None
    is_lapsed: bool


async def insert(tx: Transaction, claim: Claim, process_id: ProcessId) -> bool:
    return await tx.execute(_sql["insert_claim"], _claim_params(tx.principal, claim, process_id)) > 0


async def lock(tx: Transaction, request: IdempotentRequest) -> Earlier | None:
    return await tx.fetch_one(Earlier, _sql["lock_claim"], _key_params(tx.principal, request))


async def take_over(tx: Transaction, claim: Claim, process_id: ProcessId) -> None:
    await tx.execute(_sql["take_over_claim"], _claim_params(tx.principal, claim, process_id))


async def finish(
    tx: Transaction, claim: Claim, *, status: int, body_sealed: bytes | None, resource_id: UUID | None
) -> bool:
    params = _key_params(tx.principal, claim.request) | {
        "id": claim.id,
        "status": status,
        "body_sealed": body_sealed,
        "resource_id": resource_id,
    }
    return await tx.execute(_sql["finish_claim"], params) > 0


async def release(tx: Transaction, claim: Claim) -> None:
    await tx.execute(_sql["release_claim"], _key_params(tx.principal, claim.request) | {"id": claim.id})


async def discard(tx: Transaction, claim: Claim) -> None:
    await tx.execute(_sql["discard_claim"], _key_params(tx.principal, claim.request) | {"id": claim.id})


def _claim_params(principal: Principal, claim: Claim, process_id: ProcessId) -> dict[str, object]:
    own = {"id": claim.id, "request_hash": claim.request.body_hash, "process_id": process_id}
    return _key_params(principal, claim.request) | own


def _key_params(principal: Principal, request: IdempotentRequest) -> dict[str, object]:
    return {
        "tenant_id": principal.tenant_id,
        "principal_id": principal.credential_id,
        "method": request.method,
        "path": request.path,
        "key": request.key,
    }
