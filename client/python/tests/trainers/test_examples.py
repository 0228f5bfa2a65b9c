"""Every file of examples/trainers, loaded and called by the installed trainers. Those of NeMo-Gym: test_nemo_gym.py."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jury

from ..conftest import REPOSITORY
from .test_others import Sample

EXAMPLES = REPOSITORY / "examples" / "trainers"
CALLED_HERE = {
    "areal_reward.py",
    "openrlhf_reward.py",
    "slime_reward.py",
    "trl_grpo.py",
    "verifiers.toml",
    "verifiers_taskset.py",
    "verl.yaml",
}


def test_there_is_no_example_that_no_test_loads() -> None:
    files = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    assert files == CALLED_HERE | {"nemo_gym/app.py", "nemo_gym/http_app.py", "nemo_gym/configs/jury.yaml"}


@pytest.fixture
def copies(tiny: jury.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The examples with the address of a judge that runs, whose scores mean nothing."""
    for name in CALLED_HERE:
        text = (EXAMPLES / name).read_text()
        text = text.replace("127.0.0.1:7480", tiny.address)
        text = re.sub(r"\bk=(\d+)", r"k=\1, min_readout_mass=0", text)
        text = re.sub(r"( +)k: (\d+)", r"\1k: \2\n\1min_readout_mass: 0", text)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in CALLED_HERE:
        sys.modules.pop(Path(name).stem, None)


def reward_of(judge: jury.Client, query: Any, response: str, **item: Any) -> float:
    """What the examples' settings make of one response."""
    whole = {"query": query, "responses": [response], **item}
    reward = judge.with_settings(k=4, max_critique_tokens=512, min_readout_mass=0).score(whole).rewards[0]
    assert reward is not None
    return reward


def test_slime(copies: Path, tiny: jury.Client) -> None:
    reward = importlib.import_module("slime_reward").reward
    rewards = asyncio.run(reward(None, [Sample("p", "one"), Sample("p", "two")]))
    assert rewards == tiny.score("p", ["one", "two"], k=8, max_critique_tokens=512).rewards


def test_openrlhf(copies: Path, tiny: jury.Client) -> None:
    pytest.importorskip("openrlhf")
    from .test_openrlhf import executed

    told = executed(str(copies / "openrlhf_reward.py"), "two and two?")
    assert float(told["reward"]) == pytest.approx(reward_of(tiny, "two and two?", " four"))


def test_trl(copies: Path) -> None:
    pytest.importorskip("trl")
    (copies / "data").mkdir()
    (copies / "data" / "train.jsonl").write_text('{"prompt": "two and two?"}\n')
    # A machine without a GPU must be told so; short completions, and a log of each step.
    here = "num_generations=8, use_cpu=True, max_completion_length=8, logging_steps=1, max_steps=2, report_to=[]"
    script = copies / "trl_grpo.py"
    script.write_text(script.read_text().replace("num_generations=8", here))
    model = str(REPOSITORY / "engine/tests/fixtures/llama")
    command = [sys.executable, "trl_grpo.py", model, "data"]
    package = str(Path(jury.__file__).parents[1])
    # Offline: the model and the data are here.
    environment = {**os.environ, "PYTHONPATH": package, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=copies, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rewards/jury/mean" in done.stdout and "'jury/unscored'" in done.stdout


def test_verl(copies: Path, tiny: jury.Client) -> None:
    pytest.importorskip("verl")
    import verl.trainer
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import load_reward_manager

    from .test_trl import policy
    from .test_verl import run

    with initialize_config_dir(str(copies), version_base=None):
        config = compose("verl")
    with initialize_config_dir(str(Path(verl.trainer.__file__).parent / "config"), version_base=None):
        plain = compose("ppo_trainer")
    OmegaConf.update(plain, "reward.custom_reward_function.reward_kwargs", {}, force_add=True)
    for part in ("reward_manager", "custom_reward_function"):
        assert config.reward[part].keys() == plain.reward[part].keys(), "no key that verl does not know"
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    told = run(load_reward_manager(config, policy()[1]), ("two and two?", "four"))
    loop.close()
    expected = reward_of(tiny, [{"role": "user", "content": "two and two?"}], "four")
    assert told["reward_score"] == expected


def test_areal(copies: Path, tiny: jury.Client) -> None:
    pytest.importorskip("areal")
    from areal.api.cli_args import GenerationHyperparameters
    from areal.utils.dynamic_import import import_from_string

    from .test_areal import Engine
    from .test_trl import policy

    example = importlib.import_module("areal_reward")
    _, tokenizer = policy()
    workflow = import_from_string(example.WORKFLOW)(
        gconfig=GenerationHyperparameters(), tokenizer=tokenizer, min_readout_mass=0,
        get_input_ids_fn=lambda text, reader, _: reader.encode(text, add_special_tokens=False), **example.JUDGE,
    )
    told = asyncio.run(workflow.arun_episode(Engine(tokenizer), {"messages": "two and two?"}))
    assert told["rewards"].tolist() == [pytest.approx(reward_of(tiny, "two and two?", " four"))]


def test_verifiers(copies: Path, tiny: jury.Client) -> None:
    pytest.importorskip("verifiers")
    import tomli
    import verifiers.v1 as vf
    from verifiers.v1.configs.cli.eval import EvalConfig
    from verifiers.v1.utils.loaders import load_taskset

    config = EvalConfig.model_validate(tomli.loads((copies / "verifiers.toml").read_text()))
    tasks = list(load_taskset(config.env.taskset))
    trace = vf.Trace.model_construct(root_reply="Paris")
    asyncio.run(tasks[0].score(trace))
    assert trace.reward == reward_of(tiny, tasks[0].data.prompt, "Paris", reference="Paris")
    judge = importlib.import_module("verifiers_taskset").score._judge
    # The client waits five seconds longer than the budget.
    assert judge.patience + judge.client._settings["budget"] + 5 < config.env.agent.timeout.scoring
