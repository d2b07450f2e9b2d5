"""OpenAPI at /schema/openapi.json and a page for people at /docs, whose assets come with a package: no CDN."""

from importlib.util import find_spec
from pathlib import Path

from litestar import MediaType, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import FromPath
from litestar.response import File

_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>LLM CoPilot Agent API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/schema/openapi.json", dom_id: "#ui", tryItOutEnabled: true})</script>
</body></html>
"""


def openapi_config(version: str) -> OpenAPIConfig:
    return OpenAPIConfig(
        title="LLM CoPilot Agent",
        version=version,
        path="/schema",
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT"),
                "api_key": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header"),
            }
        ),
        security=[{"bearer": []}, {"api_key": []}],
    )


@get("/docs", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def docs_page() -> str:
    return _PAGE


@get("/docs/{asset:str}", include_in_schema=False, sync_to_thread=False)
def docs_asset(asset: FromPath[str]) -> File:
    if asset not in _ASSETS:
        raise NotFoundException
    return File(path=_assets_folder() / asset, media_type=_ASSETS[asset], content_disposition_type="inline")


def _assets_folder() -> Path:
    """swagger-ui-py is used for its files only: importing it would bring a template engine along."""
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise RuntimeError("swagger-ui-py is not installed")
    return Path(spec.origin).parent / "static"


docs_router = Router("/", route_handlers=[docs_page, docs_asset])
