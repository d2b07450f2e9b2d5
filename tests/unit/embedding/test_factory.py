"""What EMBEDDING_MODEL leads to, and what is said where it leads nowhere."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from copilot_common.base.errors import ProviderError, SettingsError
from copilot_common.embedding import build_embedder
from copilot_common.embedding.factory import stored_name
from copilot_common.platform.settings import Settings

REQUIRED = {"DATABASE_URL": "", "REDIS_URL": "", "JWT_SECRET": "", "ENCRYPTION_KEY": ""}


def settings(**variables: str) -> Settings:
    return msgspec.convert(REQUIRED | variables, Settings, strict=False)


def test_without_any_setting_it_is_wordllama() -> None:
    spec = build_embedder(settings()).spec
    assert (spec.name, spec.dimensions, spec.tokenizer) == ("wordllama-256", 256, "wordllama")


def test_another_embedder_can_be_built_beside_the_default() -> None:
    made = settings(EMBEDDING_MODEL="openai/text-embedding-3-small", EMBEDDING_DIMENSIONS="512", OPENAI_API_KEY="k")
    names = [
        build_embedder(made, name).spec.name for name in (None, "wordllama-256", "openai/text-embedding-3-small@256")
    ]
    assert names == ["openai/text-embedding-3-small@512", "wordllama-256", "openai/text-embedding-3-small@256"]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (None, "openai/text-embedding-3-small@512"),
        ("openai/text-embedding-3-small", "openai/text-embedding-3-small@1536"),
        ("compatible/own@8", "compatible/own@8"),
        ("compatible/own", None),  # its dimensions are not known
        ("minilm-384", "minilm-384"),
        ("nonsense", None),
    ],
)
def test_what_vectors_are_stored_under_is_known_without_an_embedder(name: str | None, stored: str | None) -> None:
    made = settings(EMBEDDING_MODEL="openai/text-embedding-3-small", EMBEDDING_DIMENSIONS="512")
    assert stored_name(made, name) == stored


def test_a_server_in_openais_place_needs_no_key() -> None:
    made = settings(EMBEDDING_MODEL="openai/own", EMBEDDING_DIMENSIONS="5", OPENAI_BASE_URL="http://ollama:11434/v1")
    assert build_embedder(made).spec.name == "openai/own@5"


@pytest.mark.parametrize("missing", ["tokenizer.json", "model.onnx"])
def test_minilm_wants_both_of_its_files(tmp_path: Path, missing: str) -> None:
    for name in {"tokenizer.json", "model.onnx"} - {missing}:
        (tmp_path / name).touch()
    with pytest.raises(SettingsError, match=r"^EMBEDDING_MODEL_PATH must"):
        build_embedder(settings(EMBEDDING_MODEL="minilm-384", EMBEDDING_MODEL_PATH=str(tmp_path)))


def test_minilm_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot_common.embedding.factory.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"^EMBEDDING_MODEL.*copilot-common\[minilm\]"):
        build_embedder(settings(EMBEDDING_MODEL="minilm-384"))


def test_importing_the_package_loads_no_numpy_and_no_model() -> None:
    check = (
        "import sys, copilot_common.embedding; "
        "print({'numpy', 'wordllama', 'onnxruntime', 'tokenizers', 'openai'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("indices", [(0, 0), (0, 2), (-1, 0)])
async def test_vectors_that_say_no_place_of_their_own_are_refused(
    monkeypatch: pytest.MonkeyPatch, indices: tuple[int, int]
) -> None:
    answer = msgspec.json.encode({"data": [{"index": index, "embedding": [1.0]} for index in indices]})

    async def post(*_: object, **__: object) -> bytes:
        return answer

    monkeypatch.setattr("copilot_common.embedding.posting.JsonPoster.post", post)
    made = settings(
        EMBEDDING_MODEL="compatible/x", EMBEDDING_DIMENSIONS="1", EMBEDDING_BASE_URL="http://x/v1", MAX_RETRIES="0"
    )
    with pytest.raises(ProviderError, match="cannot be read"):
        await build_embedder(made).embed(["a", "b"])
