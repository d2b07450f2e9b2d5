"""/conversations, without its messages."""

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import JSONBody

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.conversations.schemas import CreateConversation, UpdateConversation
from copilot_domain.conversations import Conversation
from copilot_domain.pagination import Page


class ConversationController(Controller):
    path = "/api/v1/conversations"
    tags = ("conversations",)

    @post(dto=StrictBody[CreateConversation], return_dto=None)
    async def create(
        self,
        request: HttpRequest,
        data: JSONBody[CreateConversation],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[Conversation]:
        new = data.to_new()
        return await answer_once(
            services, request, principal, lambda tx: services.conversations.create(tx, new), status=201
        )

    @get()
    async def index(self, principal: ActingPrincipal, services: AppServices, wanted: WantedPage) -> Page[Conversation]:
        """Newest activity first."""
        return await services.tenants_db.read(principal, lambda tx: services.conversations.list(tx, wanted))

    @get("/{conversation_id:uuid}")
    async def show(self, conversation_id: PathId, principal: ActingPrincipal, services: AppServices) -> Conversation:
        return await services.tenants_db.read(principal, lambda tx: services.conversations.get(tx, conversation_id))

    @patch("/{conversation_id:uuid}", dto=StrictBody[UpdateConversation], return_dto=None)
    async def update(
        self,
        conversation_id: PathId,
        data: JSONBody[UpdateConversation],
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Conversation:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.conversations.update(tx, conversation_id, data.changes())

    @delete("/{conversation_id:uuid}")
    async def remove(self, conversation_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        async with services.tenants_db.transaction(principal) as tx:
            await services.conversations.delete(tx, conversation_id)
