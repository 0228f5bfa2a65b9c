#!/usr/bin/env bash
# Rule-based online RL with verl 0.9, by the numbers of the paper (section 3.3). Options behind the command change any of them.
#
# The steps end the training: a pass over the data is at least one of them, so as many passes are enough.
#
# The paper's batch is 512 samples: 128 groups of 4. With fewer than 8 cards set CARDS, and if memory does not do, lower
# ppo_micro_batch_size_per_gpu and gpu_memory_utilization; the numbers of the training stay.
set -euo pipefail
cd "$(dirname "$0")"
CARDS="${CARDS:-8}"
python3 -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    algorithm.use_kl_in_reward=False \
    data.train_files="$PWD/data.jsonl" \
    data.val_files="$PWD/data.jsonl" \
    data.train_batch_size=128 \
    data.max_prompt_length=@PROMPT_TOKENS@ \
    data.filter_overlong_prompts=True \
    data.seed=@SEED@ \
    actor_rollout_ref.actor.data_loader_seed=@SEED@ \
    data.max_response_length=@TOKENS@ \
    actor_rollout_ref.model.path="@MODEL@" \
    actor_rollout_ref.model.enable_gradient_checkpointing=True \
    actor_rollout_ref.actor.optim.lr=4e-7 \
    actor_rollout_ref.actor.optim.weight_decay=0 \
    actor_rollout_ref.actor.ppo_mini_batch_size=128 \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4 \
    actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean \
    actor_rollout_ref.actor.use_kl_loss=True \
    actor_rollout_ref.actor.kl_loss_coef=@BETA@ \
    actor_rollout_ref.actor.kl_loss_type=low_var_kl \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.n=@GROUP@ \
    actor_rollout_ref.rollout.temperature=1.0 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.6 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8 \
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8 \
    reward.custom_reward_function.path="$PWD/reward.py" \
    reward.custom_reward_function.name=compute_score \
    trainer.total_training_steps=900 trainer.total_epochs=900 \
    trainer.val_before_train=False \
    trainer.save_freq=50 \
    trainer.n_gpus_per_node="$CARDS" \
    trainer.nnodes=1 \
    trainer.project_name=jury trainer.experiment_name=spct trainer.logger='["console"]' \
    "$@"
