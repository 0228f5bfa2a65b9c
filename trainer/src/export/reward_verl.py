"""The rule of Self-Principled Critique Tuning's RL as verl calls it: +1 where the best response has strictly the
highest score, or a single one's score is its label; else -1. A text without readable scores is wrong, and form alone
earns nothing. `jury.outcome_reward` is the function by which `jury train rl` rewards.

    pip install ./client/python          in Jury's repository
"""

import json

import jury


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    """One reward a sample; the ground truth is item and order."""
    truth = json.loads(ground_truth)
    reward, is_readable = jury.outcome_reward(truth["item"], truth["order"], solution_str)
    return {"score": reward, "readable": float(is_readable)}
