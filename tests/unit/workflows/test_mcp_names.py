"""What tools of MCP servers are called, and that nothing is loaded before one is."""

import subprocess
import sys

import pytest

from copilot_domain.workflows.mcp_servers.names import is_server_name, parse_tool


def test_the_first_slash_ends_the_servers_name() -> None:
    assert parse_tool("mcp:files/dir/read.v2") == ("files", "dir/read.v2")


@pytest.mark.parametrize(
    "name", ["http.request", "mcp:", "mcp:/x", "mcp:a", "mcp:a/", "MCP:a/b", "mcp:a /b", "mcp:a/b\n"]
)
def test_what_is_no_such_name_is_none(name: str) -> None:
    assert parse_tool(name) is None


@pytest.mark.parametrize(
    ("name", "is_one"), [("0", True), ("a-b_c", True), ("x" * 63, True), ("x" * 64, False), ("", False)]
)
def test_a_servers_name_is_an_identifier(name: str, is_one: bool) -> None:
    assert is_server_name(name) is is_one


def test_who_calls_no_server_does_not_pay_for_the_library() -> None:
    code = "import sys, copilot_workflow_engine.worker, copilot_api.composition; print('mcp' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
