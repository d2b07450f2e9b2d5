"""Idempotency-Key on POST routes: the claim before the work, the answer with it, the repeat's answer from storage."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response

from copilot_api.http.context import request_context
from copilot_api.http.errors import STATUS, error_body, to_copilot_error
from copilot_api.http.json import JsonResponse, encode_json
from copilot_api.services import Services
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.idempotency import (
    Fresh,
    Outcome,
    Replay,
    claim,
    finish,
    idempotent_request,
    release,
    settle_failure,
)

Answer = TypeVar("Answer", bound=msgspec.Struct | Sequence[msgspec.Struct])
HttpRequest = Request[Any, Any, Any]

_HEADER = "idempotency-key"


def has_key(request: HttpRequest) -> bool:
    """Whether the caller may repeat it."""
    return _HEADER in request.headers


def check_key(request: HttpRequest) -> None:
    """For who does much before `answer_once`. Raises InvalidInput for a key that will not do."""
    if has_key(request):
        idempotent_request(request.method, request.url.path, request.headers[_HEADER], b"")


async def answer_once(
    services: Services,
    request: HttpRequest,
    principal: Principal,
    work: Callable[[Transaction], Awaitable[Answer]],
    *,
    status: int,
    shows_secret: bool = False,
    body: bytes | None = None,
) -> Response[Any]:
    """Run `work` in a transaction of `principal` and answer with what it returns (a struct with an `id`, or a list).

    With an Idempotency-Key, at most once: a repeat gets the stored answer, or 409 where it showed a secret. `body` is
    what a repeat is known by, where the request's own has been read already.
    """
    async with begin_once(services, request, principal, body=body) as outcome:
        if isinstance(outcome, Replay):
            return replayed(outcome)
        async with services.tenants_db.transaction(principal) as tx:
            answer = await work(tx)
            if outcome is not None:
                kept = None if shows_secret else encode_json(answer)
                await finish(tx, outcome.claim, status=status, body=kept, resource_id=getattr(answer, "id", None))
    return JsonResponse(answer, status_code=status)


def replayed(replay: Replay) -> Response[bytes]:
    return JsonResponse(replay.kept_body(), status_code=replay.status, media_type="application/json")


@asynccontextmanager
async def begin_once(
    services: Services, request: HttpRequest, principal: Principal, *, body: bytes | None = None
) -> AsyncIterator[Outcome | None]:
    """None without the header. A refusal inside the block is kept or freed as the wire contract says."""
    key = request.headers.get(_HEADER)
    if key is None:
        yield None
        return
    known_by = await request.body() if body is None else body
    wanted = idempotent_request(request.method, request.url.path, key, known_by)
    outcome = await claim(services.tenants_db, principal, wanted, services.process_id)
    try:
        yield outcome
    except Exception as error:
        if isinstance(outcome, Fresh):
            await _settle(services, request, principal, outcome, error)
        raise
    except BaseException:
        if isinstance(outcome, Fresh):
            await release(services.tenants_db, principal, outcome.claim)
        raise


async def _settle(
    services: Services, request: HttpRequest, principal: Principal, fresh: Fresh, error: Exception
) -> None:
    known = to_copilot_error(error)
    body = encode_json(error_body(known, request_context(request.scope).request_id))
    await settle_failure(services.tenants_db, principal, fresh.claim, status=STATUS[known.code], body=body)
