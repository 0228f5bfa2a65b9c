"""The reward for slime: `--group-rm --custom-rm-path slime_reward.reward`, with this folder on PYTHONPATH."""

from jury.trainers.slime import group_reward_function

reward = group_reward_function("127.0.0.1:7480", k=8, budget=120)
