"""Doing a request once, whatever the client repeats and whichever process dies.

How a route uses it:

    outcome = await claim(db, principal, request, process_id)
    if isinstance(outcome, Replay):
        return outcome.status, outcome.kept_body()      # a message: read outcome.resource_id instead
    try:
        async with db.transaction(principal) as tx:
            answer = await service.do_it(tx, ...)
            await finish(tx, outcome.claim, status=201, body=encode(answer), resource_id=answer.id)
    except CopilotError as error:
        await settle_failure(db, principal, outcome.claim, status=status_of(error), body=encode(error))
        raise
    except BaseException:                               # a cancelled request too
        await release(db, principal, outcome.claim)
        raise

The claim commits before the work, so that a parallel repeat sees it. It is held under the process's lease: a repeat
takes a dead process's claim over. The work and its `finish` are one transaction, and `finish` raises when the claim is
no longer ours, so two takers never both take effect.
"""

from uuid import UUID

from copilot_common.base.errors import Conflict
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.encryption import Purpose, TenantCipher
from copilot_common.tenancy import Principal, TenantDatabase, Transaction
from copilot_domain.idempotency import repository
from copilot_domain.idempotency.requests import Claim, Fresh, IdempotentRequest, Outcome, Replay


async def claim(db: TenantDatabase, principal: Principal, request: IdempotentRequest, process_id: ProcessId) -> Outcome:
    """Begin, or learn what the first request came to; a transaction of its own.

    Raises Conflict: IDEMPOTENCY_MISMATCH for another body, IDEMPOTENCY_IN_PROGRESS while the first still runs.
    """
    mine = Claim(request, new_id())
    async with db.transaction(principal) as tx:
        if await repository.insert(tx, mine, process_id):
            return Fresh(mine)
        earlier = await repository.lock(tx, request)
        if earlier is None:
            raise _in_progress()  # released between the two statements: the next try finds it free
        if earlier.is_lapsed:
            await repository.take_over(tx, mine, process_id)
            return Fresh(mine)
        if earlier.request_hash != request.body_hash:
            message = "This Idempotency-Key was used with another body."
            raise Conflict(message, code="IDEMPOTENCY_MISMATCH")
        return await _replay(tx, earlier)


async def finish(
    tx: Transaction, claim: Claim, *, status: int, body: bytes | None, resource_id: UUID | None = None
) -> None:
    """Keep the answer, in the transaction of the work and under the principal that claimed.

    `body` is sealed. None keeps only the status: for an answer that shows a secret once, and for a message, whose
    `resource_id` (the answer's id) is what a repeat reads or attaches to. Raises Conflict when another request has
    taken the claim over; the transaction must then roll back.
    """
    sealed = None
    if body is not None:
        sealed = (await _cipher(tx)).seal(Purpose.IDEMPOTENT_ANSWER, claim.id, body)
    if not await repository.finish(tx, claim, status=status, body_sealed=sealed, resource_id=resource_id):
        raise _in_progress()


async def release(db: TenantDatabase, principal: Principal, claim: Claim) -> None:
    """Nothing was done: free the key. Does nothing to a claim that is finished or taken over."""
    async with db.transaction(principal) as tx:
        await repository.release(tx, claim)


async def discard(tx: Transaction, claim: Claim) -> None:
    """What had been finished came to nothing after all (a message whose provider failed): a repeat asks anew."""
    await repository.discard(tx, claim)


async def settle_failure(db: TenantDatabase, principal: Principal, claim: Claim, *, status: int, body: bytes) -> None:
    """After the work's transaction was rolled back: keep the refusal, or free the key where a repeat may fare better.

    429 and 5xx are freed by contract, 409 because a conflict is by its nature true only for now.
    """
    if status in {409, 429} or status >= 500:
        await release(db, principal, claim)
        return
    async with db.transaction(principal) as tx:
        await finish(tx, claim, status=status, body=body)


async def _replay(tx: Transaction, earlier: repository.Earlier) -> Replay:
    if earlier.status is None:
        raise _in_progress()
    body = None
    if earlier.body_sealed is not None:
        body = (await _cipher(tx)).open(Purpose.IDEMPOTENT_ANSWER, earlier.id, earlier.body_sealed)
    return Replay(status=earlier.status, body=body, resource_id=earlier.resource_id)


async def _cipher(tx: Transaction) -> TenantCipher:
    tenant_id = tx.principal.tenant_id
    if tx.principal.is_platform and tx.keyring.cached(tenant_id) is None:
        # Nobody makes the platform's tenant, so its key is made at its first use.
        await tx.keyring.create(tx.connection, tenant_id)
    return await tx.cipher()


def _in_progress() -> Conflict:
    return Conflict("The first request with this Idempotency-Key still runs.", code="IDEMPOTENCY_IN_PROGRESS")
