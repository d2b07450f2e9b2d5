"""One folder per resource: `routes.py` and `schemas.py` in each."""

from litestar.types import ControllerRouterHandler

from copilot_api.resources.audit.routes import audit_router
from copilot_api.resources.auth.routes import auth_router
from copilot_api.resources.collections.routes import CollectionController
from copilot_api.resources.context.files import upload_files
from copilot_api.resources.context.routes import ContextController
from copilot_api.resources.conversations.messages import MessageController
from copilot_api.resources.conversations.routes import ConversationController
from copilot_api.resources.health.routes import health_router
from copilot_api.resources.jobs.routes import JobController
from copilot_api.resources.mcp_servers.routes import McpServerController
from copilot_api.resources.models.routes import models_router
from copilot_api.resources.runs.routes import RunController
from copilot_api.resources.schedules.routes import ScheduleController
from copilot_api.resources.tenants.routes import tenants_router
from copilot_api.resources.triggers.routes import TriggerController, call_trigger
from copilot_api.resources.usage.routes import usage_router
from copilot_api.resources.webhooks.routes import WebhookController
from copilot_api.resources.workflows.routes import WorkflowController

ROUTE_HANDLERS: list[ControllerRouterHandler] = [
    health_router,
    auth_router,
    tenants_router,
    usage_router,
    audit_router,
    models_router,
    ConversationController,
    MessageController,
    JobController,
    ContextController,
    CollectionController,
    upload_files,
    WebhookController,
    RunController,
    WorkflowController,
    ScheduleController,
    TriggerController,
    call_trigger,
    McpServerController,
]
