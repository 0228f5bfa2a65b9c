"""A judge that serves tenants alone."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import jury
from jury.trainers.trl import reward_function
from jury.trainers.verl import compute_score

from .conftest import SHORT_TEMPLATE

SECRET = "a-token-of-the-tests"
PAIR = ("What is the capital of France?", ["It is Paris.", "It is Lyon."])


@pytest.fixture(scope="module")
def local(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[jury.LocalClient]:
    tenants = tmp_path_factory.mktemp("tenants") / "tenants.toml"
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    tenants.write_text(f'[[tenant]]\nname = "search"\ntoken_digests = ["sha256:{digest}"]\n')
    options = ["--tenants", str(tenants), "--template", SHORT_TEMPLATE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JURY_TOKEN", SECRET)
        judge = jury.local(tiny_model, options=options)
    with judge:
        yield judge


@pytest.fixture(scope="module")
def address(local: jury.LocalClient) -> str:
    return local.address


def test_a_token_is_sent_and_travels_with_its_client(address: str) -> None:
    client = jury.Client(address, token=SECRET, k=1, max_critique_tokens=1, min_readout_mass=0)
    rewards = client.score(*PAIR).rewards
    assert None not in rewards
    assert pickle.loads(pickle.dumps(client)).with_settings(seed=0).score(*PAIR).rewards == rewards


def test_a_local_judge_keeps_the_token_it_was_started_with_when_it_travels(local: jury.LocalClient) -> None:
    assert pickle.loads(pickle.dumps(local)).status().workers


def test_without_the_right_token_nobody_is_served(address: str) -> None:
    with pytest.raises(jury.Unauthenticated, match="wants a token"):
        jury.Client(address).status()
    with pytest.raises(jury.Unauthenticated, match="not known"):
        jury.Client(address, token="another").score(*PAIR)


@pytest.mark.parametrize("token", [None, "another"])
def test_a_training_without_the_right_token_ends_at_its_first_rewards(address: str, token: str | None) -> None:
    reward = reward_function(jury.Client(address, token=token), patience=600)
    with pytest.raises(jury.Unauthenticated):
        reward(prompts=["p", "q"], completions=["a", "b"])
    with pytest.raises(jury.Unauthenticated):
        asyncio.run(compute_score("d", "a", None, {"question": "q"}, address=address, fallback=0.0))


def test_a_file_is_read_where_nothing_else_names_a_token(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    monkeypatch.setenv("JURY_TOKEN_FILE", str(tmp_path / "token"))
    assert jury.Client(address).status().workers


def test_a_token_is_neither_shown_nor_sent_where_others_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client = jury.Client("https://judge.example.com:7480", token=SECRET)
    assert SECRET not in f"{client!r} {jury.Token(SECRET)!r} {vars(client)}"
    with pytest.raises(jury.InvalidArgument, match="readable to everybody") as refused:
        jury.Client("http://judge.example.com:7480", token=SECRET)
    assert SECRET not in str(refused.value)
    monkeypatch.setenv("JURY_ALLOW_TOKEN_WITHOUT_TLS", "1")
    jury.Client("http://judge.example.com:7481", token=SECRET)
