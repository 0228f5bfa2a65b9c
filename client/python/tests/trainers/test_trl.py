"""The reward functions inside the installed TRL's own trainer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jury
from jury.trainers.trl import async_reward_function, reward_function, summed

from ..conftest import REPOSITORY, SHORT_TEMPLATE, make_tiny_model

pytest.importorskip("trl")

TOO_LONG = "too long " * 60


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[jury.LocalClient]:
    """A judge into whose context TOO_LONG does not fit."""
    model = make_tiny_model(tmp_path_factory.mktemp("small") / "tiny", 640)
    options = ["--template", SHORT_TEMPLATE]
    with jury.local(model, options=options, k=2, max_critique_tokens=4, min_readout_mass=0) as judge:
        yield judge


def policy() -> tuple[Any, Any]:
    """A random model of two layers, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(REPOSITORY / "engine/tests/fixtures/llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return AutoModelForCausalLM.from_pretrained(folder, torch_dtype="float32"), tokenizer


def train(
    reward_funcs: Any,
    prompts: list[Any],
    folder: Path,
    steps: int = 1,
    aggregation: str = "sum_then_normalize",
    **columns: list[Any],
) -> Any:
    """Trains with groups of four, two prompts a step, and returns the trainer."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = policy()
    config = GRPOConfig(
        output_dir=str(folder),
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=12,
        max_steps=steps,
        multi_objective_aggregation=aggregation,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        shuffle_dataset=False,
        seed=1,
        disable_tqdm=True,
    )
    dataset = Dataset.from_dict({"prompt": prompts, **columns})
    trainer = GRPOTrainer(model, reward_funcs, args=config, train_dataset=dataset, processing_class=tokenizer)
    trainer.train()
    return trainer


@pytest.mark.parametrize("make", [reward_function, async_reward_function])
def test_every_completion_gets_a_reward(
    small: jury.Client, tmp_path: Path, make: Callable[..., Any]
) -> None:
    trainer = train(make(small), ["one?", "two?"], tmp_path)
    rewards = trainer._logs["rewards"]["jury"]
    assert len(rewards) == 8 and all(1 <= reward <= 10 for reward in rewards)
    told = trainer.state.log_history[0]
    assert told["rewards/jury/mean"] == pytest.approx(sum(rewards) / 8)
    assert told["jury/unscored"] == 0.0 and told["jury/latency_s"] >= 0


def test_sync_and_async_give_the_same_rewards_bit_by_bit(small: jury.Client, tmp_path: Path) -> None:
    both = [train(make(small), ["one?", "two?"], tmp_path) for make in (reward_function, async_reward_function)]
    one, other = [list(trainer._logs["rewards"]["jury"]) for trainer in both]
    assert one == other


def test_an_unscored_row_leaves_its_group_and_moves_nothing(small: jury.Client, tmp_path: Path) -> None:
    trainer = train(reward_function(small, patience=0), ["one?", TOO_LONG], tmp_path)
    rewards = list(trainer._logs["rewards"]["jury"])
    advantages = list(trainer._logs["advantages"])
    unscored = [index for index, reward in enumerate(rewards) if math.isnan(reward)]
    assert len(unscored) == 4
    assert [advantages[index] for index in unscored] == [0.0] * 4
    scored = [reward for reward in rewards if not math.isnan(reward)]
    assert trainer.state.log_history[0]["reward"] == pytest.approx(sum(scored) / 4)
    assert trainer.state.log_history[0]["jury/unscored"] == 0.5
    reasons = list(trainer._logs["extra"]["jury_reason"])
    assert sum(str(reason).startswith("too_long") for reason in reasons) == 4


def half_has_form(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
    return [float(row % 2) for row in range(len(completions))]


async def every_fourth_applies(completions: list[Any], **_: Any) -> list[float | None]:
    return [2.0 if row % 4 == 0 else None for row in range(len(completions))]


class Gappy(jury.Client):
    """A client that has no verdict for one response of each item."""

    def score_many(self, items: Any, **settings: Any) -> Iterator[jury.Answer]:
        for answer in super().score_many(items, **settings):
            assert answer.verdict is not None
            rewards = [None, *answer.verdict.rewards[1:]]
            reasons = [jury.Reason("parse_failed", "a gap"), *answer.verdict.reasons[1:]]
            yield dataclasses.replace(answer, verdict=dataclasses.replace(answer.verdict, rewards=rewards, reasons=reasons))


def test_beside_another_reward_an_unscored_row_is_no_zero_to_trl(small: jury.Client, tmp_path: Path) -> None:
    judged = reward_function(Gappy(small.address, k=2, max_critique_tokens=4, min_readout_mass=0))
    trainer = train(summed([judged, half_has_form], weights=[1, 0.5]), ["one?", "two?"], tmp_path)
    advantages, rewards = list(trainer._logs["advantages"]), list(trainer._logs["rewards"]["summed"])
    unscored = [row for row, reward in enumerate(rewards) if math.isnan(reward)]
    assert unscored == [0, 4] and [advantages[row] for row in unscored] == [0.0, 0.0]
    told = trainer.state.log_history[0]
    scored = [reward for reward in rewards if not math.isnan(reward)]
    assert told["reward"] == pytest.approx(sum(scored) / 6), "the mean is that of the others"
    assert (told["jury/unscored"], told["half_has_form/mean"]) == (0.25, 0.5) and "jury/mean" in told


def test_trl_with_several_rewards_is_refused_where_it_would_take_the_missing_for_zero(
    small: jury.Client, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="takes a reward that is missing for 0.*summed.*normalize_then_sum"):
        train([reward_function(small), half_has_form], ["one?", "two?"], tmp_path)
    trainer = train([reward_function(small), half_has_form], ["one?", "two?"], tmp_path, aggregation="normalize_then_sum")
    assert len(list(trainer._logs["rewards"]["jury"])) == 8


def test_a_sum_leaves_out_what_does_not_apply_and_runs_coroutines(small: jury.Client, tmp_path: Path) -> None:
    alone = train(reward_function(small), ["one?", "two?"], tmp_path)
    functions: list[Callable[..., Any]] = [async_reward_function(small), half_has_form, every_fourth_applies]
    trainer = train(summed(functions, weights=[1, 0.5, 3]), ["one?", "two?"], tmp_path)
    judged = list(alone._logs["rewards"]["jury"])
    expected = [reward + 0.5 * (row % 2) + 6 * (row % 4 == 0) for row, reward in enumerate(judged)]
    assert list(trainer._logs["rewards"]["summed"]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="weights: must be one for each of 3"):
        summed(functions, weights=[1])
    with pytest.raises(ValueError, match="reward_funcs"):
        summed([])


def test_a_model_that_nobody_serves_ends_the_training(small: jury.Client, tmp_path: Path) -> None:
    with pytest.raises(jury.WrongModel, match="typo"):
        train(reward_function(small, patience=0, model="typo"), ["one?", "two?"], tmp_path)


def test_every_step_logs_the_same_keys(small: jury.Client, tmp_path: Path) -> None:
    # In the first step every response has a reward, alone and so without an agreement; in the second none has.
    trainer = train(reward_function(small, patience=0), ["one?", "two?", TOO_LONG, TOO_LONG], tmp_path, steps=2)
    one, two = ({key: told[key] for key in told if "jury" in key} for told in trainer.state.log_history[:2])
    assert one.keys() == two.keys()
    assert {"jury/unscored", "jury/agreement", "jury/latency_s", "jury/n_parse_failed", "jury/n_timed_out"} <= one.keys()
    assert one["jury/unscored"] == 0.0 and two["jury/unscored"] == 1.0


def test_two_rewards_with_names_of_their_own_are_logged_apart(small: jury.Client, tmp_path: Path) -> None:
    both = [reward_function(small, patience=0), async_reward_function(small, patience=0, scale=(0, 100), name="fine")]
    trainer = train(both, ["one?", TOO_LONG], tmp_path, aggregation="normalize_then_sum")
    rewards = {name: list(trainer._logs["rewards"][name]) for name in ("jury", "fine")}
    assert all(len(of_one) == 8 for of_one in rewards.values()) and str(rewards["jury"]) != str(rewards["fine"])
    told = trainer.state.log_history[0]
    for name, of_one in rewards.items():
        scored = [reward for reward in of_one if not math.isnan(reward)]
        assert told[f"rewards/{name}/mean"] == pytest.approx(sum(scored) / len(scored))
        assert told[f"{name}/unscored"] == 0.5 and f"{name}/agreement" in told
        assert len(list(trainer._logs["extra"][f"{name}_reason"])) == 8


def test_columns_of_the_dataset_reach_the_judge(small: jury.Client, tmp_path: Path) -> None:
    seen = []

    class Seeing(jury.Client):
        def score_many(self, items: Any, **settings: Any) -> Iterator[jury.Answer]:
            items = list(items)
            seen.extend(items)
            return super().score_many(items, **settings)

    client = Seeing(small.address, k=1, max_critique_tokens=1, min_readout_mass=0)
    reward = reward_function(client, reference="solution", criteria="rubrics")
    train(reward, ["one?", "two?"], tmp_path, solution=[1, 2], rubrics=[["short"], ["long"]])
    assert [len(item["responses"]) for item in seen] == [4, 4]
    told = {(item["query"], item["reference"], *item["criteria"]) for item in seen}
    assert told == {("one?", "1", "short"), ("two?", "2", "long")}
