"""The rule of Self-Principled Critique Tuning's RL as @TRAINER@ calls it: +1 where the best response has strictly the
highest score, or a single one's score is its label; else -1. A text without readable scores is wrong, and form alone
earns nothing. `jury.outcome_reward` is the function by which `jury train rl` rewards.

    pip install ./client/python          in Jury's repository
"""

import json

import jury

@BODY@
