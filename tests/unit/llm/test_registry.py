import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from copilot_common.base.errors import InvalidInput, SettingsError
from copilot_common.llm import ChatMessage, ChatRequest, ModelRegistry
from copilot_common.platform.settings import Settings

REQUIRED = {"DATABASE_URL": "", "REDIS_URL": "", "JWT_SECRET": "", "ENCRYPTION_KEY": ""}


def registry(**variables: str) -> ModelRegistry:
    return ModelRegistry(msgspec.convert(REQUIRED | variables, Settings), CollectorRegistry())


def refused(made: ModelRegistry, model: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        made.resolve(model)
    return caught.value.fields["model"]


def test_without_any_key_the_default_is_local_and_says_so() -> None:
    made = registry()
    assert made.resolve(None).name == "local/extractive"
    assert made.configured_providers == ("local",)
    assert "ANTHROPIC_API_KEY" in made.warnings[0]
    assert len(made.warnings) == 2


def test_default_model_is_taken_when_its_provider_has_a_key() -> None:
    made = registry(ANTHROPIC_API_KEY="k", OPENAI_API_KEY="k")
    assert made.resolve().name == "claude-3-sonnet"
    assert made.warnings == []


def test_default_model_may_be_one_that_is_not_listed() -> None:
    assert registry(OPENAI_API_KEY="k", DEFAULT_MODEL="openai/my-own").resolve().name == "openai/my-own"


def test_otherwise_the_first_configured_providers_first_model_is_the_default() -> None:
    made = registry(GOOGLE_API_KEY="k")
    assert made.resolve().name == "gemini-3.8-flash"
    assert "gemini-3.8-flash" in made.warnings[0]


def test_a_default_model_that_is_none_ends_the_start() -> None:
    with pytest.raises(SettingsError, match="DEFAULT_MODEL"):
        registry(DEFAULT_MODEL="no-such-model")


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("claude-3-sonnet", "ANTHROPIC_API_KEY"),
        ("gpt-4o-mini", "OPENAI_API_KEY"),
        ("google/gemini-any", "GOOGLE_API_KEY"),
    ],
)
def test_an_explicit_model_without_a_key_is_refused_naming_the_variable(model: str, variable: str) -> None:
    assert variable in refused(registry(), model)


@pytest.mark.parametrize(
    "model", ["nope", "nobody/model", "openai/", "local/other", "google/../../v1/files", "openai/a b", "", "openai/x?y"]
)
def test_an_unknown_model_is_refused(model: str) -> None:
    assert "No such model" in refused(registry(OPENAI_API_KEY="k", GOOGLE_API_KEY="k"), model)


def test_an_alias_stands_for_the_providers_model() -> None:
    resolved = registry(ANTHROPIC_API_KEY="k").resolve("claude-3-sonnet")
    assert (resolved.name, resolved.provider) == ("claude-3-sonnet", "anthropic")
    assert resolved.model.startswith("claude-sonnet-")
    assert resolved.prices is not None


def test_a_model_that_is_not_listed_has_no_price_and_a_modest_window() -> None:
    resolved = registry(OPENAI_API_KEY="k").resolve("openai/meta-llama/Llama-3:70b")
    assert resolved.model == "meta-llama/Llama-3:70b"
    assert resolved.prices is None
    assert resolved.context_window == 32_000


def test_a_listed_model_keeps_its_profile_when_named_by_provider_and_id() -> None:
    assert registry(OPENAI_API_KEY="k").resolve("openai/gpt-4o-mini").name == "gpt-4o-mini"


def test_a_server_of_ones_own_needs_no_key() -> None:
    assert registry(OPENAI_BASE_URL="http://ollama:11434/v1").configured_providers == ("openai", "local")


def test_models_tells_which_are_configured() -> None:
    listed = {profile.alias: configured for profile, configured in registry(OPENAI_API_KEY="k").models()}
    assert listed["gpt-4o-mini"]
    assert listed["local/extractive"]
    assert not listed["claude-3-sonnet"]


def test_a_provider_has_one_adapter() -> None:
    made = registry(OPENAI_API_KEY="k")
    assert made.resolve("gpt-4o-mini").chat is made.resolve("openai/other").chat


def test_a_file_of_ones_own_replaces_the_list(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(
        '[[models]]\nalias = "mine"\nprovider = "openai"\nmodel = "m"\ncontext_window = 9\nmax_output_tokens = 9\n'
    )
    made = registry(MODELS_FILE=str(path), DEFAULT_MODEL="mine")
    assert [profile.alias for profile, _ in made.models()] == ["mine"]
    assert made.resolve().name == "local/extractive"


async def test_prepare_makes_the_default_ready_to_answer() -> None:
    made = registry()
    await made.prepare()
    request: Any = ChatRequest(model="extractive", messages=(ChatMessage("user", "Hello?"),))
    assert "No language model is configured" in (await made.resolve().chat.complete(request)).text
    await made.aclose()


def test_importing_the_package_and_making_a_registry_import_no_sdk() -> None:
    program = (
        "import sys, msgspec; from prometheus_client import CollectorRegistry;"
        "from copilot_common.llm import ModelRegistry; from copilot_common.platform.settings import Settings;"
        f"variables = {REQUIRED!r} | {{'OPENAI_API_KEY': 'k', 'ANTHROPIC_API_KEY': 'k', 'GOOGLE_API_KEY': 'k'}};"
        "ModelRegistry(msgspec.convert(variables, Settings), CollectorRegistry());"
        "sys.exit(' '.join({'openai', 'anthropic', 'google.genai', 'httpx2', 'aiohttp'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
