"""The text that `copilot up` ends with: where it is, the key, and what to paste."""

from copilot_devstack.api_server import DEFAULT_PORT, ApiServer
from copilot_devstack.state import DevState

_PRODUCTION_RATE_LIMIT = 100  # the deployment guide's RATE_LIMIT_REQUESTS


def ready_text(state: DevState, api: ApiServer, *, seconds: float) -> str:
    lines = [
        "",
        f"Ready in {seconds:.1f} s: {state.base_url}  (API reference: {state.base_url}/docs)",
        f"  API key     {state.api_key}",
        f"  admin       {state.admin_email}, password {state.admin_password}",
        f"  rate limit  {api.rate_limit} requests a window, for development (production: {_PRODUCTION_RATE_LIMIT})",
    ]
    if state.ports["api"] != DEFAULT_PORT and not api.has_own_port:
        lines.append(
            f"  port        {state.ports['api']}, because {DEFAULT_PORT} was taken; PORT=… copilot up names another"
        )
    return "\n".join([*lines, "", "Hold a conversation:", "", *_curl(state)])


def _curl(state: DevState) -> list[str]:
    headers = f"-H 'X-API-Key: {state.api_key}' -H 'Content-Type: application/json'"
    url = f"{state.base_url}/api/v1/conversations"
    return [
        f"""  id=$(curl -s {url} {headers} -d '{{"title": "Hello"}}' \\""",
        """    | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')""",
        f"""  curl {url}/$id/messages {headers} \\""",
        """    -d '{"role": "user", "content": "Who keeps the keys?", "documents": \\""",
        """         [{"name": "note.txt", "text": "The keys are kept by Ada. The door is blue."}]}'""",
    ]
