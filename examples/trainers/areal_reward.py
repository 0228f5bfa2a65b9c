"""The judge of AReaL's rollouts. With this folder on PYTHONPATH:

    from areal_reward import JUDGE, WORKFLOW

    trainer.train(
        workflow=WORKFLOW,
        workflow_kwargs={**JUDGE, "gconfig": config.gconfig, "tokenizer": config.tokenizer_path},
    )

The workflow awaits its rewards, so AReaL's 15 seconds for a reward function do not apply.
"""

WORKFLOW = "jury.trainers.areal_workflow.JuryWorkflow"
JUDGE = {"address": "127.0.0.1:7480", "k": 4, "max_critique_tokens": 512}
