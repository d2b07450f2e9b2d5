"""The text that `copilot up` ends with: where it is, the key, and what to paste."""

from pathlib import Path

from copilot_devstack.api_server import DEFAULT_PORT, ApiServer
from copilot_devstack.state import DevState

_PRODUCTION_RATE_LIMIT = 100  # the deployment guide's RATE_LIMIT_REQUESTS


def ready_text(state: DevState, api: ApiServer, *, seconds: float, state_path: Path) -> str:
    lines = [
        "",
        f"Ready in {seconds:.1f} s: {state.base_url}  (API reference: {state.base_url}/docs)",
        f"  API key     {state.api_key}",
        f"  admin       {state.admin_email}, password in {state_path}",
        f"  rate limit  {api.rate_limit} requests a window, for development (production: {_PRODUCTION_RATE_LIMIT})",
    ]
    if state.ports["api"] != DEFAULT_PORT and not api.has_own_port:
        lines.append(
            f"  port        {state.ports['api']}, because {DEFAULT_PORT} was taken; to choose: PORT=… copilot up"
        )
    return "\n".join([*lines, "", "Hold a conversation:", "", *_curl(state)])


def _curl(state: DevState) -> list[str]:
    headers = """-H "X-API-Key: $KEY" -H 'Content-Type: application/json'"""
    return [
        f"""  URL={state.base_url}/api/v1/conversations KEY={state.api_key}""",
        f"""  ID=$(curl -s $URL {headers} -d '{{"title": "Hello"}}' \\""",
        """    | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')""",
        f"""  curl -s $URL/$ID/messages {headers} \\""",
        """    -d '{"role": "user", "content": "Who keeps the keys?",""",
        """         "documents": [{"name": "note.txt", "text": "The keys are kept by Ada. The door is blue."}]}'""",
    ]
