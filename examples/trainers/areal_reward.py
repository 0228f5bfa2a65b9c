"""The reward for AReaL. With this folder on PYTHONPATH:

    trainer.train(
        workflow="areal.workflow.rlvr.RLVRWorkflow",
        workflow_kwargs={
            "reward_fn": "areal_reward.reward_fn",
            "gconfig": config.gconfig,
            "tokenizer": config.tokenizer_path,
        },
    )

AReaL's workflow waits 15 seconds for a reward, so critiques must be short; the budget is shorter than that.
"""

from jury.trainers.areal import RewardFunction

reward_fn = RewardFunction("127.0.0.1:7480", k=4, max_critique_tokens=128)
