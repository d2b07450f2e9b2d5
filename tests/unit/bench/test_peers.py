from pathlib import Path

import pytest
from bench.peers import environment
from bench.peers.litellm import _config, _name, running_litellm


def test_a_peer_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "FOLDER", tmp_path)
    with running_litellm("http://127.0.0.1:9/v1", ("sim",), folder=tmp_path / "litellm") as peer:
        assert peer is None


def test_the_peer_asks_the_same_upstream_for_the_same_script() -> None:
    config = _config("http://127.0.0.1:9/v1", ("sim,tokens=3",))
    params = {"model": "openai/sim,tokens=3", "api_base": "http://127.0.0.1:9/v1", "api_key": "sk-simulated"}
    assert config["model_list"] == [{"model_name": "sim-tokens-3", "litellm_params": params}]
    assert _name("sim,tokens=3") == "sim-tokens-3"
