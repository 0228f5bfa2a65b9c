#!/usr/bin/env bash
# Rule-based online RL with OpenRLHF 0.11, by the numbers of the paper (section 3.3). Options behind the command change any
# of them.
#
# OpenRLHF counts passes over the data: @EPISODES@ of them are 900 steps of 128 groups.
#
# The paper's batch is 512 samples: 128 groups of 4. With fewer than 8 cards set CARDS; if memory does not do, lower
# --train.micro_batch_size and --rollout.micro_batch_size; the numbers of the training stay.
set -euo pipefail
cd "$(dirname "$0")"
CARDS="${CARDS:-8}"
python3 -m openrlhf.cli.train_ppo_ray \
    --actor.model_name_or_path "@MODEL@" \
    --actor.num_nodes 1 --actor.num_gpus_per_node "$CARDS" \
    --ref.num_nodes 1 --ref.num_gpus_per_node "$CARDS" \
    --vllm.num_engines "$CARDS" --vllm.tensor_parallel_size 1 --vllm.gpu_memory_utilization 0.6 \
    --vllm.enable_sleep --ds.enable_sleep --train.colocate_all \
    --data.prompt_dataset "$PWD/data.jsonl" --data.input_key messages --data.label_key label \
    --data.apply_chat_template \
    --reward.remote_url "$PWD/reward.py" \
    --algo.advantage.estimator group_norm --actor.loss_agg_mode seq-mean-token-mean \
    --algo.kl.use_loss --algo.kl.estimator k3 --algo.kl.init_coef @BETA@ \
    --rollout.n_samples_per_prompt @GROUP@ --rollout.batch_size 128 --rollout.temperature 1.0 \
    --rollout.max_new_tokens @TOKENS@ --data.max_len @ALL_TOKENS@ \
    --train.batch_size 512 --train.micro_batch_size 4 --rollout.micro_batch_size 8 \
    --actor.adam.lr 4e-7 --actor.lr_scheduler constant --actor.lr_warmup_ratio 0 \
    --actor.gradient_checkpointing_enable --ds.zero_stage 3 --ds.param_dtype bf16 \
    --train.num_episodes @EPISODES@ --train.max_epochs 1 --ckpt.save_steps 50 --ckpt.output_dir out \
    --train.seed @SEED@ \
    "$@"
