#!/usr/bin/env python3
"""Makes gradients.json and adamw.json: PyTorch's gradients of the engine's fixture models, and where its AdamW takes one of
them. trainer/src/model/tests.rs and trainer/src/optimiser/tests.rs hold ours to them.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 transformers==5.24.0
    venv/bin/python trainer/tests/gradients.py

The loss is the mean negative log-probability of tokens 20 to 31 of each fixture's first sequence, given those before
them. Of every parameter's gradient two numbers are kept: its length, and its product with sin(0.7 * place), which
shows rows in a wrong order.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent.parent / "engine" / "tests" / "fixtures"
FAMILIES = ["llama", "qwen2", "qwen3", "gemma2", "gemma3_text"]
START, END = 20, 32


# As trainer/src/optimiser/tests.rs has them; the gradients are longer than the clip in some steps, and shorter in others.
STEPS, RATE, DECAY, CLIP = 4, 1e-3, 0.1, 50.0


def load(family):
    folder = FIXTURES / family
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    return model, load_file(folder / "expected.safetensors")["tokens"][0, :END].long()


def loss_of(model, tokens):
    logits = model(tokens[None]).logits[0].float()
    return torch.nn.functional.cross_entropy(logits[START - 1 : END - 1], tokens[START:])


def figures(numbers):
    numbers = numbers.double().flatten()
    sines = torch.sin(0.7 * torch.arange(len(numbers), dtype=torch.float64))
    return [numbers.norm().item(), (numbers * sines).sum().item()]


def gradients(family):
    model, tokens = load(family)
    loss = loss_of(model, tokens)
    loss.backward()
    return {
        "loss": loss.item(),
        "gradients": {name: figures(weight.grad) for name, weight in model.named_parameters()},
    }


def adamw(family):
    model, tokens = load(family)
    weights = dict(model.named_parameters())
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    groups = [
        {"params": [weight for weight in weights.values() if weight.dim() > 1], "weight_decay": DECAY},
        {"params": [weight for weight in weights.values() if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8)
    losses, norms = [], []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = loss_of(model, tokens)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(weights.values(), CLIP).item())
        optimiser.step()
        losses.append(loss.item())
    moved = {name: figures(weight.detach() - before[name]) for name, weight in weights.items()}
    return {"losses": losses, "norms": norms, "moved": moved}


made = {family: gradients(family) for family in FAMILIES}
(HERE / "gradients.json").write_text(json.dumps(made, indent=1) + "\n")
(HERE / "adamw.json").write_text(json.dumps(adamw("llama"), indent=1) + "\n")
