"""/models: what this principal may use."""

from litestar import Router, get

from copilot_api.http.parameters import AppServices
from copilot_api.resources.models.schemas import ModelView
from copilot_domain.pagination import Page


@get("/api/v1/models", tags=["models"], sync_to_thread=False)
def list_models(services: AppServices) -> Page[ModelView]:
    """Every listed model; `configured` says whether its provider has a key here."""
    items = [ModelView.of(profile, configured) for profile, configured in services.models.models()]
    return Page(items, total=len(items), limit=len(items), offset=0, has_more=False, next_cursor=None)


models_router = Router("/", route_handlers=[list_models])
