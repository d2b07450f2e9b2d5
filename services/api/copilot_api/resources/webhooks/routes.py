"""/webhooks and their deliveries."""

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import JSONBody

from copilot_api.http.body import StrictBody
from copilot_api.http.idempotency import HttpRequest, answer_once
from copilot_api.http.parameters import ActingPrincipal, AppServices, PathId, WantedPage
from copilot_api.resources.webhooks.schemas import CreateWebhook, UpdateWebhook
from copilot_domain.pagination import Page
from copilot_domain.webhooks import CreatedWebhook, Delivery, Webhook


class WebhookController(Controller):
    path = "/api/v1/webhooks"
    tags = ("webhooks",)

    @post(dto=StrictBody[CreateWebhook], return_dto=None)
    async def create(
        self, request: HttpRequest, data: JSONBody[CreateWebhook], principal: ActingPrincipal, services: AppServices
    ) -> Response[CreatedWebhook]:
        """`secret` is shown only here; deliveries are signed with it as Standard Webhooks says."""
        new = data.to_new()
        return await answer_once(
            services,
            request,
            principal,
            lambda tx: services.webhooks.create(tx, new),
            status=201,
            shows_secret=True,
        )

    @get()
    async def index(self, principal: ActingPrincipal, services: AppServices, wanted: WantedPage) -> Page[Webhook]:
        """Newest first."""
        async with services.tenants_db.transaction(principal) as tx:
            return await services.webhooks.list(tx, wanted)

    @get("/{webhook_id:uuid}")
    async def show(self, webhook_id: PathId, principal: ActingPrincipal, services: AppServices) -> Webhook:
        async with services.tenants_db.transaction(principal) as tx:
            return await services.webhooks.get(tx, webhook_id)

    @patch("/{webhook_id:uuid}", dto=StrictBody[UpdateWebhook], return_dto=None)
    async def update(
        self, webhook_id: PathId, data: JSONBody[UpdateWebhook], principal: ActingPrincipal, services: AppServices
    ) -> Webhook:
        """`is_active: true` switches on again what a 410 had switched off."""
        async with services.tenants_db.transaction(principal) as tx:
            return await services.webhooks.update(tx, webhook_id, data.changes())

    @delete("/{webhook_id:uuid}")
    async def remove(self, webhook_id: PathId, principal: ActingPrincipal, services: AppServices) -> None:
        async with services.tenants_db.transaction(principal) as tx:
            await services.webhooks.delete(tx, webhook_id)

    @get("/{webhook_id:uuid}/deliveries")
    async def deliveries(
        self, webhook_id: PathId, principal: ActingPrincipal, services: AppServices, wanted: WantedPage
    ) -> Page[Delivery]:
        """Newest first, of the last 30 days."""
        async with services.tenants_db.transaction(principal) as tx:
            return await services.webhooks.deliveries(tx, webhook_id, wanted)

    @post("/{webhook_id:uuid}/deliveries/{delivery_id:uuid}/redeliver", status_code=202)
    async def redeliver(
        self,
        request: HttpRequest,
        webhook_id: PathId,
        delivery_id: PathId,
        principal: ActingPrincipal,
        services: AppServices,
    ) -> Response[Delivery]:
        """Under the same `webhook-id`, so a receiver that has it already can tell."""
        return await answer_once(
            services,
            request,
            principal,
            lambda tx: services.webhooks.redeliver(tx, webhook_id, delivery_id),
            status=202,
        )
