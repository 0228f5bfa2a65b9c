"""jury.outcome_reward and the rule of `jury train rl`: the same answer to thousands of texts."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import jury


def test_other_trainers_reward_what_jury_train_rl_rewards(tmp_path: Path) -> None:
    program = Path(os.environ["JURY_BINARY"]).parent / "examples" / "reward_texts"
    assert program.exists(), f"{program} is missing: make build makes it"
    lines = tmp_path / "rewards.jsonl"
    with lines.open("wb") as out:
        subprocess.run([program], stdout=out, check=True)
    seen: Counter[tuple[float, bool]] = Counter()
    # Texts hold characters that splitlines takes for ends of lines.
    for line in lines.read_text(encoding="utf-8").split("\n")[:-1]:
        case = json.loads(line)
        expected = (case["reward"], case["is_readable"])
        # A mapping and its JSON are one item.
        for item in (case["item"], json.dumps(case["item"], ensure_ascii=False)):
            assert jury.outcome_reward(item, case["order"], case["text"]) == expected, line
        seen[expected] += 1
    assert sum(seen.values()) >= 4000
    for answer in ((1.0, True), (-1.0, True), (-1.0, False)):
        assert seen[answer] > 400, seen


@pytest.mark.parametrize(
    ("responses", "order", "why"),
    [(["Paris.", "Paris."], [0], "one text"), (["Paris.", "Lyon."], [0], "order: "), (["Paris.", "Lyon.", "Paris."], [0, 2], "order: ")],
)
def test_what_compares_nothing_has_no_reward(responses: list[str], order: list[int], why: str) -> None:
    item = {"query": "The capital?", "responses": responses, "best": 0}
    scores = ", ".join("9" for _ in order)
    with pytest.raises(ValueError, match=why):
        jury.outcome_reward(item, order, f"Scores: \\boxed{{{scores}}}")
