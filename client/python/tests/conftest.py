"""Real judges for the tests: `jury up` with a tiny model for what needs many calls, with SmolLM2 for what needs a judge."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import jury

REPOSITORY = Path(__file__).resolve().parents[3]
SHORT_TEMPLATE = str(REPOSITORY / "examples" / "short.j2")


@pytest.fixture(scope="session", autouse=True)
def hostile_proxy() -> Iterator[None]:
    """A proxy that answers nothing: no call of any test may go there."""
    names = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, "http://127.0.0.1:9")
            patch.setenv(name.upper(), "http://127.0.0.1:9")
        patch.delenv("no_proxy", raising=False)
        patch.delenv("NO_PROXY", raising=False)
        patch.setenv("JURY_BINARY", os.environ.get("JURY_BINARY") or str(REPOSITORY / "target/debug/jury"))
        yield


def make_tiny_model(folder: Path, context_tokens: int) -> str:
    """A random model of two layers: scores at once, and scores that mean nothing."""
    folder.mkdir()
    source = REPOSITORY / "engine/tests/fixtures/llama"
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if (source / name).exists():
            shutil.copy(source / name, folder / name)
    config = json.loads((source / "config.json").read_text())
    config["max_position_embeddings"] = context_tokens
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """With room for any prompt of the tests."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", 8192)


@pytest.fixture(scope="session")
def tiny(tiny_model: str) -> Iterator[jury.LocalClient]:
    """A judge that answers within milliseconds."""
    options = ["--template", SHORT_TEMPLATE]
    with jury.local(tiny_model, options=options, k=1, max_critique_tokens=1, min_readout_mass=0) as judge:
        yield judge


@pytest.fixture(scope="session")
def judge() -> Iterator[jury.LocalClient]:
    """A judge that takes its time."""
    with jury.local("smollm2-135m", k=2, max_critique_tokens=32) as judge:
        yield judge
