"""`sft.jsonl` of `jury train rft` in the hands of those who train on it: TRL, LLaMA-Factory and axolotl, each by its own
loader. Prompt and answer come out as they went in, and the answers alone are learned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections import Counter
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from ..conftest import REPOSITORY, SHORT_TEMPLATE

pytest.importorskip("trl")

MODEL = str(REPOSITORY / "engine/tests/fixtures/llama")
IGNORED = -100
# What readers of chats have stumbled over, and several turns, of which every answer is learned.
GENERAL: list[list[tuple[str, str]]] = [
    [("user", "a\n\n  b  <|im_end|> ä\u0301🙂 \\boxed{10, 1}\t\u2028x"), ("assistant", " <think>é</think>\nScores: \\boxed{8, 3} ")],
    [("system", "be kind"), ("user", "hi"), ("assistant", "yes"), ("user", "why?"), ("assistant", "because {{ x }}")],
    [("user", "<image> <video> [INST] {% if %}"), ("assistant", "no picture")],
]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real run, samples of a real judge and general conversations in it."""
    folder = tmp_path_factory.mktemp("sft")
    items, mix = folder / "items.jsonl", folder / "mix.jsonl"
    with items.open("w", encoding="utf-8") as out:
        for number in range(4):
            responses = [f"{number} and 1 are {number + 1}.", "That is hard to say. 🙂"]
            item = {"id": str(number), "query": f"What is {number} and 1?", "responses": responses, "best": 0}
            out.write(json.dumps(item) + "\n")
    with mix.open("w", encoding="utf-8") as out:
        for turns in GENERAL:
            messages = [{"role": role, "content": content} for role, content in turns]
            out.write(json.dumps({"messages": messages}) + "\n")
    files = ["--items", str(items), "--mix", str(mix), "--mix-share", "0.9", "--out", str(folder / "rft")]
    judge = ["--model", "smollm2-135m", "--template", SHORT_TEMPLATE, "--max-critique-tokens", "16", "--keep-cut"]
    subprocess.run([os.environ["JURY_BINARY"], "train", "rft", "--data-only", *files, *judge], check=True)
    return folder / "rft"


@pytest.fixture(scope="module")
def conversations(folder: Path) -> list[list[dict[str, str]]]:
    lines = (folder / "sft.jsonl").read_text(encoding="utf-8").split("\n")
    conversations = [json.loads(line)["messages"] for line in lines if line]
    assert len(conversations) > len(GENERAL), "the judge was never right"
    return conversations


def tokenizer() -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    tokenizer.chat_template = CHATML
    return tokenizer


def holds(rows: Any, conversations: list[list[dict[str, str]]]) -> None:
    """Every row says its conversation, and learns the answers with their ends; some loaders shuffle."""
    reader = tokenizer()
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        learned = [token for token, label in zip(row["input_ids"], row["labels"]) if label != IGNORED]
        # Some templates learn the line end behind an answer, too.
        texts = [reader.decode(tokens).replace("<|im_end|>\n", "<|im_end|>") for tokens in (row["input_ids"], learned)]
        found[texts[0], texts[1]] += 1
    expected: Counter[tuple[str, str]] = Counter()
    for messages in conversations:
        whole = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>" for turn in messages)
        answers = [turn["content"] + "<|im_end|>" for turn in messages if turn["role"] == "assistant"]
        expected[whole, "".join(answers)] += 1
    assert found == expected


def test_trl(folder: Path, conversations: list[list[dict[str, str]]], tmp_path: Path) -> None:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    # `messages` are learned whole unless TRL is told otherwise; the template must mark what the assistant says.
    settings = SFTConfig(
        output_dir=str(tmp_path), assistant_only_loss=True, max_length=4096, use_cpu=True, bf16=False, report_to=[]
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32"),
        args=settings,
        train_dataset=load_dataset("json", data_files=str(folder / "sft.jsonl"), split="train", cache_dir=str(tmp_path)),
        processing_class=tokenizer(),
    )
    holds(trainer.train_dataset, conversations)


def without_sound(patch: pytest.MonkeyPatch) -> None:
    """LLaMA-Factory imports torchaudio for data with sounds, and there is none for the newest torch."""
    sound = types.ModuleType("torchaudio")
    sound.__spec__ = ModuleSpec("torchaudio", None)
    patch.setitem(sys.modules, "torchaudio", sound)


def test_llama_factory(
    folder: Path, conversations: list[list[dict[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers
    from transformers import Seq2SeqTrainingArguments

    settings = Seq2SeqTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    assert transformers.Trainer is not None
    without_sound(monkeypatch)
    # It wants an older transformers than TRL does.
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    from llamafactory.data.loader import get_dataset
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments

    data = DataArguments(
        dataset="jury_rft", dataset_dir=str(folder), template="chatml", cutoff_len=4096, overwrite_cache=True
    )
    model = ModelArguments(model_name_or_path=MODEL, cache_dir=str(tmp_path))
    reader = tokenizer()
    template = get_template_and_fix_tokenizer(reader, data)
    loaded = get_dataset(template, model, data, settings, stage="sft", tokenizer=reader)
    holds(loaded["train_dataset"], conversations)


def test_axolotl(folder: Path, conversations: list[list[dict[str, str]]], tmp_path: Path) -> None:
    from axolotl.datasets import TokenizedPromptDataset
    from axolotl.prompt_strategies import load
    from axolotl.utils.dict import DictDefault
    from datasets import load_dataset

    config = DictDefault({"sequence_len": 4096, "train_on_inputs": False})
    strategy = load("chat_template", tokenizer(), config, {"type": "chat_template"})
    raw = load_dataset("json", data_files=str(folder / "sft.jsonl"), split="train", cache_dir=str(tmp_path))
    holds(TokenizedPromptDataset(strategy, raw, process_count=1), conversations)
