"""GRPO with TRL, rewarded by a running Jury.

    pip install trl ./client/python
    jury up &
    python examples/trainers/trl_grpo.py MODEL DATASET
"""

import sys

from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer

from jury.trainers.trl import reward_function

model, dataset = sys.argv[1:3]
# The candidates of a prompt are judged as one item: with 8 candidates, 8 samples show each of them in every position
# once.
reward = reward_function("127.0.0.1:7480", k=8, budget=120)
trainer = GRPOTrainer(
    model,
    reward_funcs=reward,
    args=GRPOConfig(output_dir="out", num_generations=8),
    train_dataset=load_dataset(dataset, split="train"),
)
trainer.train()
