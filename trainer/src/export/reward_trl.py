"""The rule of Self-Principled Critique Tuning's RL as TRL calls it: +1 where the best response has strictly the
highest score, or a single one's score is its label; else -1. A text without readable scores is wrong, and form alone
earns nothing. `jury.outcome_reward` is the function by which `jury train rl` rewards.

    pip install ./client/python          in Jury's repository
"""

import json

import jury


def outcome_reward(completions, item, order, **kwargs):
    """One reward a completion; items and orders are columns of the data."""
    texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
    rows = zip(texts, item, order)
    return [jury.outcome_reward(of, json.loads(shown), text)[0] for text, of, shown in rows]
