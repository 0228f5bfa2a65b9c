"""Step 1: the kernels against the CPU path and against transformers, on the committed fixtures.

A fixture has the logits after each of the last tokens of its sequences, from transformers in float32. The GPU rounds
activations to bf16, so it may differ from them as much as transformers in bf16 does.
"""

import json

import numpy
from safetensors.numpy import load_file

from calls import Missed, call
from logits import divergence

# Mean KL between transformers' logits in bf16 and in float32 on these fixtures: 5.24.0 with torch 2.15.0 on a CPU.
BF16 = {
    "llama": 1.9e-3, "qwen2": 1.7e-3, "qwen3": 1.3e-3, "gemma2": 1.1e-4, "gemma3_text": 1.9e-5, "deepseek_v2": 3.8e-3,
}
ALLOWED = 2.0


def run(check):
    found = {}
    for family in BF16:
        try:
            found[family] = of_family(check, family)
        except Missed as missed:
            found[family] = {"missed": str(missed)}
        print(f"  {family}: {shown(found[family])}", flush=True)
    check.results["fixtures"] = found


def of_family(check, family):
    folder = check.root / "engine/tests/fixtures" / family
    expected = load_file(folder / "expected.safetensors")
    sequences, right = expected["tokens"].tolist(), expected["logits"]
    shown_tokens = right.shape[1]
    lists = [row[: len(row) - shown_tokens + 1 + at] for row in sequences for at in range(shown_tokens)]
    tokens = check.work / f"{family}.json"
    tokens.write_text(json.dumps(lists))
    right = right.reshape(len(lists), -1)
    found = {"allowed": ALLOWED * BF16[family]}
    for device in dict.fromkeys(["cpu", check.device]):
        out = check.work / f"{family}.{device.replace(':', '')}.safetensors"
        call([check.logits, folder, "--device", device, "--tokens", tokens, "--out", out], check.left(60), check.log)
        ours = load_file(out)["logits"]
        if ours.shape != right.shape:
            raise Missed(f"{ours.shape} logits instead of {right.shape}")
        name = "cpu" if device == "cpu" else "card"
        found[name] = divergence(right, ours)
        found[name]["most"] = float(numpy.abs(ours - right).max())
    found["ok"] = bool(found.get("card", found["cpu"])["mean"] <= found["allowed"])
    return found


def shown(found):
    if "missed" in found:
        return f"MISS: {found['missed']}"
    sides = [
        f"{side} KL {found[side]['mean']:.1e}, top-1 {found[side]['top1']:.0%}, logits within {found[side]['most']:.2g}"
        for side in ("cpu", "card") if side in found
    ]
    return f"{'; '.join(sides)}; allowed {found['allowed']:.1e}: {'PASS' if found['ok'] else 'MISS'}"
