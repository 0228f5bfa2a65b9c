"""Rule-based online RL with TRL 1.16, by the numbers of the paper (section 3.3).

    accelerate launch train.py
"""

from pathlib import Path

from datasets import load_dataset
from reward import outcome_reward
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

HERE = Path(__file__).resolve().parent
# The paper's batch is 512 samples, 128 groups of 4. With CARDS cards, each takes PER_CARD samples at once, and the
# rest is accumulated. Fewer cards: lower CARDS, and the steps take longer; the numbers of the training stay.
CARDS, PER_CARD, BATCH = 8, 8, 512

tokenizer = AutoTokenizer.from_pretrained("@MODEL@")


def fits(row):
    """Whether a prompt is as long as it may be: TRL would take any, and cut none."""
    prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    return len(tokenizer(prompt, add_special_tokens=False).input_ids) <= @PROMPT_TOKENS@


data = load_dataset("json", data_files=str(HERE / "data.jsonl"), split="train")
n_rows = len(data)
data = data.filter(fits)
print(f"{n_rows - len(data)} of {n_rows} prompts have more than @PROMPT_TOKENS@ tokens and are left out")
if len(data) < BATCH // @GROUP@:
    raise SystemExit(f"{len(data)} prompts are fewer than a batch of {BATCH // @GROUP@}, so TRL would take no step: lower BATCH")

trainer = GRPOTrainer(
    model="@MODEL@",
    reward_funcs=outcome_reward,
    train_dataset=data,
    args=GRPOConfig(
        output_dir=str(HERE / "out"),
        num_generations=@GROUP@,
        per_device_train_batch_size=PER_CARD,
        gradient_accumulation_steps=max(1, BATCH // (CARDS * PER_CARD)),
        learning_rate=4e-7,
        lr_scheduler_type="constant",
        max_steps=900,
        # 0.08 for the paper's model of 27B, 0.002 for that of 16B; a small one may collapse.
        beta=@BETA@,
        loss_type="grpo",
        scale_rewards="group",
        temperature=1.0,
        max_completion_length=@TOKENS@,
        gradient_checkpointing=True,
        bf16=True,
        logging_steps=1,
        save_steps=50,
        seed=@SEED@,
    ),
)
if __name__ == "__main__":
    trainer.train()
