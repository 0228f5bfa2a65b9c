"""The rule of Self-Principled Critique Tuning's RL as OpenRLHF calls it: +1 where the best response has strictly the
highest score, or a single one's score is its label; else -1. A text without readable scores is wrong, and form alone
earns nothing. `jury.outcome_reward` is the function by which `jury train rl` rewards.

    pip install ./client/python          in Jury's repository
"""

import json

import jury
import torch
from jury.trainers.openrlhf import response_of


def reward_func(queries, prompts, labels, **kwargs):
    """One reward a query, which is prompt and answer together; the label is item and order.

    A query that does not begin with its prompt, as when that was cut, has no answer that can be read.
    """
    rewards, readable = [], []
    for query, prompt, label in zip(queries, prompts, labels):
        truth = json.loads(label)
        answer = response_of(query, prompt)
        reward, is_readable = jury.outcome_reward(truth["item"], truth["order"], answer or "")
        rewards.append(reward)
        readable.append(float(is_readable))
    rewards = torch.tensor(rewards)
    return {"rewards": rewards, "scores": (rewards + 1) / 2, "extra_logs": {"readable": torch.tensor(readable)}}
