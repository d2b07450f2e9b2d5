"""/conversations/{id}/messages: asking, reading, following, stopping, judging."""

from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post, put
from litestar.di import Provide
from litestar.params import FromQuery, JSONBody

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import HttpRequest, answer_once, begin_once, replayed
from copilot_api.http.json import JsonResponse
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.http.sse import EventStream, LastEventId, event_number, event_stream
from copilot_api.resources.conversations.schemas import Cancelling, GiveFeedback, SendMessage
from copilot_api.services import Services
from copilot_common.base.errors import Conflict, InvalidInput
from copilot_common.tenancy import Principal, Transaction
from copilot_domain.conversations import Feedback, Message
from copilot_domain.idempotency import Replay
from copilot_domain.pagination import Page, PageRequest, page_request

_DEFAULT_LIMIT = 50
_ACCEPTED = 202


def _wanted_messages(
    limit: FromQuery[int | None] = None, offset: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> PageRequest:
    return page_request(limit, offset, cursor, default_limit=_DEFAULT_LIMIT)


class MessageController(Controller):
    path = "/api/v1/conversations/{conversation_id:uuid}/messages"
    tags = ("messages",)
    dependencies = {"wanted": Provide(_wanted_messages, sync_to_thread=False)}  # noqa: RUF012 — Litestar reads it once

    @post(dto=StrictBody[SendMessage], return_dto=None)
    async def send(
        self,
        request: HttpRequest,
        conversation_id: PathId,
        data: JSONBody[SendMessage],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[Any] | EventStream:
        """The answer; with `stream: true` its events; with `background: true` the answer that is to be made (202)."""
        return await _send(request, conversation_id, data, principal, services, streamed=data.stream)

    @post("/stream", dto=StrictBody[SendMessage], return_dto=None, status_code=200)
    async def send_streamed(
        self,
        request: HttpRequest,
        conversation_id: PathId,
        data: JSONBody[SendMessage],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[Any] | EventStream:
        """The answer's events, as text/event-stream."""
        return await _send(request, conversation_id, data, principal, services, streamed=True)

    @get()
    async def index(
        self,
        conversation_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
        wanted: WantedPage,
    ) -> Page[Message]:
        """Oldest first."""
        return await services.tenants_db.read(
            principal, lambda tx: services.conversations.messages(tx, conversation_id, wanted)
        )

    @get("/{message_id:uuid}")
    async def show(
        self, conversation_id: PathId, message_id: PathId, principal: ActingPrincipal, services: AppServices
    ) -> Message:
        return await services.tenants_db.read(
            principal, lambda tx: services.conversations.message(tx, conversation_id, message_id)
        )

    @get("/{message_id:uuid}/stream")
    async def follow(
        self,
        conversation_id: PathId,
        message_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
        last_event_id: LastEventId = None,
    ) -> EventStream:
        """From the start, or after `Last-Event-ID`; live while the answer is being generated."""
        after = event_number(last_event_id)
        message = await _read(services, principal, conversation_id, message_id)
        if message.role != "assistant":
            raise InvalidInput({"message_id": "only answers have events"})
        return event_stream(services.generations.follow(principal, conversation_id, message_id, after=after))

    @post("/{message_id:uuid}/cancel", status_code=202)
    async def cancel(
        self,
        request: HttpRequest,
        conversation_id: PathId,
        message_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[Any]:
        """The answer ends within about two seconds, with the text so far."""

        async def work(tx: Transaction) -> Cancelling:
            await services.generations.cancel(tx, conversation_id, message_id)
            return Cancelling(id=message_id)

        response = await answer_once(services, request, principal, work, status=202)
        services.generations.cancel_here(message_id)
        return response

    @put("/{message_id:uuid}/feedback", dto=StrictBody[GiveFeedback], return_dto=None)
    async def give_feedback(
        self,
        conversation_id: PathId,
        message_id: PathId,
        data: JSONBody[GiveFeedback],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Feedback:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.conversations.give_feedback(tx, conversation_id, message_id, data.to_feedback())


async def _send(
    request: HttpRequest,
    conversation_id: UUID,
    data: SendMessage,
    principal: Principal,
    services: Services,
    *,
    streamed: bool,
) -> Response[Any] | EventStream:
    ask = data.to_ask()
    if data.background and streamed:
        raise InvalidInput({"background": "cannot be streamed; follow the pending message's stream"})
    async with begin_once(services, request, principal) as outcome:
        if isinstance(outcome, Replay):
            return await _repeat(services, principal, conversation_id, outcome, streamed=streamed)
        claim = outcome.claim if outcome else None
        if data.background:
            pending = await services.generations.ask_later(principal, conversation_id, ask, claim=claim)
            return JsonResponse(pending, status_code=_ACCEPTED)
        generation = await services.generations.ask(principal, conversation_id, ask, streamed=streamed, claim=claim)
    if streamed:
        return event_stream(services.generations.events(generation))
    return JsonResponse(await generation.wait(), status_code=201)


async def _repeat(
    services: Services, principal: Principal, conversation_id: UUID, replay: Replay, *, streamed: bool
) -> Response[Any] | EventStream:
    """The first request's answer: its stream from the start, or the message once it is complete."""
    if replay.resource_id is None:
        return replayed(replay)  # it was refused
    message = await _read(services, principal, conversation_id, replay.resource_id)
    if streamed:
        return event_stream(services.generations.follow(principal, conversation_id, message.id))
    if replay.status == _ACCEPTED:
        return JsonResponse(message, status_code=_ACCEPTED)
    if message.status == "generating":
        raise Conflict("The first request with this Idempotency-Key still runs.", code="IDEMPOTENCY_IN_PROGRESS")
    return JsonResponse(message, status_code=201)


async def _read(services: Services, principal: Principal, conversation_id: UUID, message_id: UUID) -> Message:
    """For what goes on from there: not from a replica."""
    async with services.tenants_db.transaction(principal) as tx:
        return await services.conversations.message(tx, conversation_id, message_id)
