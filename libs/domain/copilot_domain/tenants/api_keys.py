"""API keys of a tenant. Everybody handles their own; whoever has the scope admin handles all."""

from uuid import UUID

import msgspec

from copilot_common.auth.api_keys import NewKey, new_key
from copilot_common.base.errors import Forbidden, InvalidInput, NotFound
from copilot_common.base.ids import UserId, new_id
from copilot_common.tenancy import Principal, Scope, Transaction
from copilot_common.tenancy.audit import record_audit
from copilot_domain.pagination import Page, PageRequest, page
from copilot_domain.tenants import names
from copilot_domain.tenants.repository import COUNT_UP_TO, number, sql
from copilot_domain.tenants.types import ApiKey, CreatedApiKey

_MAX_DAYS = 3_650


async def create_api_key(
    tx: Transaction, name: str, scopes: list[Scope], *, expires_in_days: int | None
) -> CreatedApiKey:
    """Raises Forbidden for a scope the creator does not have, InvalidInput for what makes no sense."""
    name, wanted = names.check_name(name), sorted(set(scopes))
    if not wanted:
        raise InvalidInput({"scopes": "must name at least one scope"})
    if expires_in_days is not None and not 1 <= expires_in_days <= _MAX_DAYS:
        raise InvalidInput({"expires_in_days": f"must be from 1 to {_MAX_DAYS}"})
    for scope in wanted:
        if scope not in tx.principal.scopes:
            raise Forbidden(f"A key cannot have the scope {scope}, which you do not have.", details={"scope": scope})
    key = new_key("live")
    made = await insert_api_key(tx, tx.principal.acting_user, name, key, wanted, expires_in_days=expires_in_days)
    return CreatedApiKey(**msgspec.structs.asdict(made), key=key.secret)


async def insert_api_key(
    tx: Transaction, user_id: UserId, name: str, key: NewKey, scopes: list[Scope], *, expires_in_days: int | None
) -> ApiKey:
    """Without checks: bootstrap's way in."""
    params = {
        "tenant_id": tx.principal.tenant_id,
        "key_id": new_id(),
        "user_id": user_id,
        "name": name,
        "prefix": key.prefix,
        "key_hash": key.hash,
        "scopes": list(scopes),
        "expires_in_days": expires_in_days,
    }
    made = await tx.fetch_one(ApiKey, sql["insert_api_key"], params)
    assert made is not None  # noqa: S101 — RETURNING of an INSERT that did not raise
    await record_audit(tx, "api_key.created", made.id, details={"scopes": " ".join(scopes)})
    return made


async def list_api_keys(tx: Transaction, request: PageRequest) -> Page[ApiKey]:
    """The newest first; revoked ones are gone, expired ones are not active."""
    whose = {"tenant_id": tx.principal.tenant_id, "user_id": _whose(tx.principal)}
    params = whose | {"before": request.position(UUID), "offset": request.offset, "limit": request.fetch}
    rows = await tx.fetch_all(ApiKey, sql["list_api_keys"], params, prepare=False)
    counted = number(await tx.fetch_value(sql["count_api_keys"], whose | {"up_to": COUNT_UP_TO}))
    return page(request, rows, key=lambda row: row.id, item=lambda row: row, counted=counted)


async def revoke_api_key(tx: Transaction, key_id: UUID) -> None:
    """From the next request on it is refused. Raises NotFound."""
    params = {"tenant_id": tx.principal.tenant_id, "user_id": _whose(tx.principal), "key_id": key_id}
    if not await tx.execute(sql["revoke_api_key"], params):
        raise NotFound("API key")
    await record_audit(tx, "api_key.revoked", key_id)


def _whose(principal: Principal) -> UserId | None:
    """None: everybody's."""
    return None if "admin" in principal.scopes else principal.acting_user
