"""A model of a real shape with random weights: filled on the device, and written as a folder that engines read."""

import json
import mmap
import struct
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

SEED = 20251127
# The tokenizer's tokens, plus unused ones up to the model's vocabulary size.
TOKENIZER = Path(__file__).resolve().parents[2] / "engine/tests/fixtures/qwen2"
# Standard deviation of the logits: with 150,000 of them, a few then have most of the probability mass, as in a
# trained model.
LOGITS = 4.5


def make(shape, device, dtype=torch.bfloat16):
    """The same weights on every device of one kind and version of torch."""
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape), attn_implementation="sdpa", dtype=dtype)
    generator = torch.Generator(device).manual_seed(SEED)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            fill(name, weight, generator, shape)
    return model.eval()


def fill(name, weight, generator, shape):
    """Attention is not uniform, every branch adds about as much as is already there, and logits are far apart."""
    noise = torch.randn(weight.shape, generator=generator, device=weight.device, dtype=weight.dtype)
    inputs = weight.shape[-1] ** 0.5
    if "norm" in name:
        noise.mul_(0.2).add_(1.0)
    elif name.endswith("bias"):
        noise.mul_(0.5)
    elif name.startswith("lm_head") or (shape["tie_word_embeddings"] and "embed_tokens" in name):
        noise.mul_(LOGITS / inputs)
    elif "embed_tokens" in name:
        pass
    else:
        noise.mul_(1.2 / inputs)
    weight.copy_(noise)


def published(model):
    """Names and weights in the layout of published models: experts one by one, gate and up projections separate."""
    for name, weight in model.named_parameters():
        experts, found, kind = name.partition(".experts.")
        if not found or weight.dim() != 3:
            yield name, weight
            continue
        parts = ("gate", "up") if kind == "gate_up_proj" else ("down",)
        for number, expert in enumerate(weight):
            for part, rows in zip(parts, expert.chunk(len(parts))):
                yield f"{experts}.experts.{number}.{part}_proj.weight", rows


def write(model, shape, folder):
    """In the file layout of published models: config.json, model.safetensors, and a tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer_config.json", "generation_config.json"):
        (folder / name).write_bytes((TOKENIZER / name).read_bytes())
    tokenizer = json.loads((TOKENIZER / "tokenizer.json").read_text())
    known = tokenizer["model"]["vocab"]
    known |= {f"<none{token}>": token for token in range(len(known), shape["vocab_size"])}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "config.json").write_text(json.dumps(shape, indent=2) + "\n")
    weights = dict(published(model))
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, weight in weights.items():
        size = weight.numel() * 2
        header[name] = {"dtype": "BF16", "shape": list(weight.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    with open(folder / "model.safetensors", "w+b") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(start + at)
        file.flush()
        # From the device's memory directly into the file's, without an intermediate copy: 15 GB would take too long.
        with mmap.mmap(file.fileno(), start + at) as memory:
            for name, weight in weights.items():
                first, _ = header[name]["data_offsets"]
                there = torch.frombuffer(memory, dtype=torch.bfloat16, count=weight.numel(), offset=start + first)
                there.copy_(weight.detach().reshape(-1))
                del there
    return at
