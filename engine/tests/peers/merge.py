"""Holds `jury train merge` to PEFT and transformers: adapters that PEFT makes of the fixture models, merged by Jury,
loaded by transformers, must give PEFT's logits. `make merge-tests` runs it; JURY is the program to test.

usage: merge.py JURY
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

FIXTURES = Path(__file__).parent.parent / "fixtures"
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Family, and what else of PEFT's settings changes the arithmetic.
CASES = [
    ("llama", {}),
    ("qwen2", {"use_rslora": True}),
    ("qwen3", {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 9}}),
    ("gemma2", {}),
    ("gemma3_text", {}),
]
# Of a logit; docs/adapters.md says what was found.
MOST_ERROR = 1e-3


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def check(jury, family, settings, folder):
    torch.manual_seed(1)
    base = load(FIXTURES / family)
    tokens = torch.arange(3, 33).unsqueeze(0)
    own = base(tokens).logits[0].detach()
    config = LoraConfig(r=4, lora_alpha=6, target_modules=MODULES, **settings)
    adapted = get_peft_model(base, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    adapted.eval()
    adapted.save_pretrained(folder / "adapter")
    expected = adapted(tokens).logits[0].detach()
    command = [jury, "train", "merge", "--model", FIXTURES / family, "--adapter", folder / "adapter"]
    subprocess.run([*command, "--out", folder / "merged", "--dtype", "f32", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    found = load(folder / "merged")(tokens).logits[0].detach()
    error, effect = (found - expected).abs().max().item(), (own - expected).abs().max().item()
    print(f"{family}: {error:.1e} from PEFT's logits, which the adapter moves by {effect:.1f}")
    return error < MOST_ERROR and effect > 1000 * MOST_ERROR


def main():
    held = []
    for family, settings in CASES:
        with tempfile.TemporaryDirectory() as folder:
            held.append(check(sys.argv[1], family, settings, Path(folder)))
    sys.exit(0 if all(held) else 1)


main()
