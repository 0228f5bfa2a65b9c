#!/usr/bin/env python3
"""Makes gradients.json: PyTorch's gradients of the engine's fixture models, which trainer/src/model/tests.rs holds ours to.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 transformers==5.23.0
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


def gradients(family):
    folder = FIXTURES / family
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    tokens = load_file(folder / "expected.safetensors")["tokens"][0, :END].long()
    logits = model(tokens[None]).logits[0].float()
    loss = torch.nn.functional.cross_entropy(logits[START - 1 : END - 1], tokens[START:])
    loss.backward()
    found = {}
    for name, weight in model.named_parameters():
        slope = weight.grad.double().flatten()
        sines = torch.sin(0.7 * torch.arange(len(slope), dtype=torch.float64))
        found[name] = [slope.norm().item(), (slope * sines).sum().item()]
    return {"loss": loss.item(), "gradients": found}


made = {family: gradients(family) for family in FAMILIES}
(HERE / "gradients.json").write_text(json.dumps(made, indent=1) + "\n")
