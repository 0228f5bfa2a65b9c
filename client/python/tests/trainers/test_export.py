"""Folders of `jury train export`: TRL's runs, verl's options are composed and OpenRLHF's parsed by the installed packages."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import jury
from jury.local import find_binary

from ..conftest import make_tiny_model

N_ITEMS = 128
RIGHT, WRONG = "Scores: \\boxed{9, 2}", "Scores: \\boxed{2, 9}"


def export(to: str, folder: Path, *more: str) -> Path:
    """A folder for a trainer: a batch of items, the first response best and the second in turn."""
    items = folder / "pairs.jsonl"
    with items.open("w") as file:
        for at in range(N_ITEMS):
            responses = [f"{at} and 1 are {at + 1}.", "That is hard to say."]
            item = {"id": str(at), "query": f"What is {at} and 1?", "responses": responses, "best": 0}
            file.write(json.dumps(item) + "\n")
    out = folder / to
    options = ["--items", str(items), "--out", str(out), *more]
    subprocess.run([find_binary(), "train", "export", "--to", to, *options], check=True)
    return out


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "data.jsonl").read_text().splitlines()]


def reward_file(out: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_reward", out / "reward.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launched(out: Path) -> list[str]:
    """The command line of `train.sh`, as its `python3` would get it."""
    stub = out / "bin"
    stub.mkdir()
    (stub / "python3").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (stub / "python3").chmod(0o755)
    path = f"{stub}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(["bash", out / "train.sh"], env={**os.environ, "PATH": path}, check=True, capture_output=True, text=True)
    module, *options = run.stdout.splitlines()[1:]
    assert module in ("verl.trainer.main_ppo", "openrlhf.cli.train_ppo_ray")
    return options


def test_trl_takes_steps_on_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    model = make_tiny_model(tmp_path / "model", 8192)
    out = export("trl", tmp_path, "--model", model, "--max-critique-tokens", "8")
    script = (out / "train.py").read_text()
    for written, here in {
        "CARDS, PER_CARD, BATCH = 8, 8, 512": "CARDS, PER_CARD, BATCH = 1, 4, 8",
        "max_steps=900": "max_steps=2, use_cpu=True, report_to=[]",
        "bf16=True": "bf16=False",
        # The tiny model's tokenizer has no token for padding.
        "\ndef fits(row)": "\ntokenizer.pad_token = tokenizer.eos_token\n\n\ndef fits(row)",
        "    reward_funcs=outcome_reward,": "    reward_funcs=outcome_reward,\n    processing_class=tokenizer,",
    }.items():
        assert written in script
        script = script.replace(written, here)
    (out / "train.py").write_text(script)
    run = subprocess.run([sys.executable, "train.py"], cwd=out, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    assert "0 of 128 prompts" in run.stdout
    # Random texts have no scores: each is told to be wrong, none is left out.
    assert run.stdout.count("'rewards/outcome_reward/mean': '-1'") == 2, run.stdout


def test_trls_rewards_are_the_rule(tmp_path: Path) -> None:
    out = export("trl", tmp_path, "--model", "owner/model")
    module = reward_file(out)
    data = rows(out)
    orders = [json.loads(row["order"]) for row in data]
    assert sorted(map(tuple, orders)) == [(0, 1)] * (N_ITEMS // 2) + [(1, 0)] * (N_ITEMS // 2), "the best stands in both places equally often"
    texts = [[{"role": "assistant", "content": RIGHT}]] * len(data)
    rewards = module.outcome_reward(texts, [row["item"] for row in data], [row["order"] for row in data])
    assert rewards == [1.0 if order == [0, 1] else -1.0 for order in orders]
    assert rewards == [jury.outcome_reward(row["item"], order, RIGHT)[0] for row, order in zip(data, orders)]


def test_verl_composes_its_options_and_loads_its_reward(tmp_path: Path) -> None:
    pytest.importorskip("verl")
    import torch
    from hydra import compose, initialize_config_module
    from verl.trainer.ppo.core_algos import agg_loss
    from verl.trainer.ppo.reward import get_custom_reward_fn

    out = export("verl", tmp_path, "--model", "owner/model", "--beta", "0.002", "--seed", "7")
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=launched(out))
    assert config.algorithm.adv_estimator == "grpo" and config.actor_rollout_ref.rollout.n == 4
    actor = config.actor_rollout_ref.actor
    assert (actor.kl_loss_coef, actor.use_kl_loss, actor.optim.lr) == (0.002, True, 4e-7)
    assert (actor.loss_agg_mode, actor.optim.weight_decay) == ("seq-mean-token-mean", 0), "the paper's mean, by sample"
    logits, mask = torch.tensor([[1.0, 2.0, 3.0], [8.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert agg_loss(logits, mask, actor.loss_agg_mode).item() == pytest.approx((2 + 8) / 2)
    assert (config.data.seed, config.trainer.total_training_steps) == (7, 900)
    # As `ray_trainer.py` and `trainer_base.py` count: passes over the data, until one of both is reached.
    steps_per_epoch = len(rows(out)) // config.data.train_batch_size
    assert steps_per_epoch * config.trainer.total_epochs >= 900
    reward = get_custom_reward_fn(config)
    data = rows(out)
    for row in data:
        truth = row["reward_model"]["ground_truth"]
        right = RIGHT if json.loads(truth)["order"] == [0, 1] else WRONG
        assert reward("jury", right, truth) == {"score": 1.0, "readable": 1.0}
        assert reward("jury", "Neither.", truth) == {"score": -1.0, "readable": 0.0}


def test_openrlhf_parses_its_options_and_calls_its_reward(tmp_path: Path) -> None:
    pytest.importorskip("openrlhf")
    out = export("openrlhf", tmp_path, "--model", "owner/model")
    args = openrlhf_options(launched(out))
    assert args.reward.remote_url == str(out / "reward.py")
    assert (args.rollout.n_samples_per_prompt, args.algo.kl.init_coef, args.train.batch_size) == (4, 0.08, 512)
    assert (args.actor.loss_agg_mode, args.actor.adam.weight_decay) == ("seq-mean-token-mean", 0)
    data = rows(out)
    labels = [row["label"] for row in data]
    told = reward_file(out).reward_func([f"prompt{RIGHT}"] * len(data), ["prompt"] * len(data), labels)
    expected = [1.0 if json.loads(label)["order"] == [0, 1] else -1.0 for label in labels]
    assert told["rewards"].tolist() == expected
    assert told["extra_logs"]["readable"].tolist() == [1.0] * len(data)


def test_openrlhfs_rule_reads_what_follows_the_prompt_and_not_the_prompt(tmp_path: Path) -> None:
    pytest.importorskip("openrlhf")
    out = export("openrlhf", tmp_path, "--model", "owner/model")
    label = next(row["label"] for row in rows(out) if json.loads(row["label"])["order"] == [0, 1])
    queries = [f"Qu\u00e9? {RIGHT}", f"was cut {RIGHT} but wrote nothing", f"{RIGHT} is quoted: {WRONG}"]
    prompts = ["Que\u0301? ", "it was cut", f"{RIGHT} is quoted: "]
    assert reward_file(out).reward_func(queries, prompts, [label] * 3)["rewards"].tolist() == [1.0, -1.0, -1.0]


def openrlhf_options(options: list[str]) -> Any:
    """What the parser of the installed `train_ppo_ray` makes of them. It stands below `if __name__`, where nothing can import it."""
    spec = importlib.util.find_spec("openrlhf.cli.train_ppo_ray")
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text())
    main = next(node for node in tree.body if isinstance(node, ast.If) and "__name__" in ast.dump(node.test))
    parsed = next(at for at, node in enumerate(main.body) if "parse_args" in ast.dump(node))
    hierarchy = [node for node in main.body[parsed + 1 : parsed + 3]]
    imports: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Import)]
    imports += [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "datetime"]
    wanted = ast.Module(imports + main.body[: parsed + 1] + hierarchy, type_ignores=[])
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train_ppo_ray", *options])
        exec(compile(wanted, spec.origin, "exec"), names)
    return names["args"]
