"""The reward for OpenRLHF: `--reward.remote_url examples/trainers/openrlhf_reward.py`."""

from jury.trainers.openrlhf import make_reward_func

reward_func = make_reward_func("127.0.0.1:7480", k=4, budget=120)
