"""Steps 2 and 3: the random model's logits compared with transformers' in bf16, and samples under random schedules."""

import json

import numpy
from safetensors.numpy import load_file

from calls import Missed, call, json_of
from shapes import SHAPES
from texts import beginnings

# Ours may be further from float32 than transformers in bf16 by this factor, and agree on the best token less often by
# this share.
WORSE, FEWER = 1.25, 0.02
SEED = 11


def divergence(right, ours):
    """KL(right || ours) over the lists, and the share with the same best token."""
    if not numpy.isfinite(ours).all():
        raise Missed("some logits are not finite")
    p, q = log_softmax(right), log_softmax(ours)
    kl = (numpy.exp(p) * (p - q)).sum(axis=-1)
    same = (right.argmax(axis=-1) == ours.argmax(axis=-1)).mean()
    return {"mean": float(kl.mean()), "greatest": float(kl.max()), "top1": float(same)}


def log_softmax(logits):
    shifted = logits.astype(numpy.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(axis=-1, keepdims=True))


def compare(check):
    """Step 2."""
    stored = load_file(check.results_folder / "logits.safetensors")
    if "f32" not in stored:
        raise Missed("transformers gave no logits in float32")
    lists = beginnings(check.sizes, SHAPES[check.shape]["vocab_size"])
    tokens, out = check.work / "tokens.json", check.work / "ours.safetensors"
    tokens.write_text(json.dumps(lists))
    command = [check.logits, check.model_folder, "--device", check.device, "--tokens", tokens, "--out", out]
    call(command, check.left(90), check.log)
    ours = load_file(out)["logits"]
    if ours.shape != stored["f32"].shape:
        raise Missed(f"{ours.shape} logits instead of {stored['f32'].shape}")
    found = {"lists": len(lists), "ours": divergence(stored["f32"], ours)}
    found["transformers"] = theirs = divergence(stored["f32"], stored["bf16"])
    found["ok"] = bool(
        found["ours"]["mean"] <= theirs["mean"] * WORSE and found["ours"]["top1"] >= theirs["top1"] - FEWER
    )
    check.results["logits"] = found
    for side in ("ours", "transformers"):
        print("  KL(float32 || {}) {mean:.2e}, at most {greatest:.2e}; top-1 {top1:.1%}".format(side, **found[side]))
    print(f"  {len(lists)} texts: {'PASS' if found['ok'] else 'MISS'}", flush=True)


def schedules(check):
    """Step 3: on the random model, which takes long to load each time, and with more schedules on the real one."""
    found = check.results["schedules"] = {}
    models = {"random": (check.model_folder, check.sizes["schedules"])}
    if check.real_model:
        models["real"] = (check.real_model, check.sizes["real_schedules"])
    for name, (model, many) in models.items():
        command = [check.logits, model, "--device", check.device, "--schedules", many, "--seed", SEED]
        found[name] = one = json_of(call(command, check.left(60), check.log))
        told = "equal in all bits" if one["equal"] else f"{one.get('different')} NOT equal"
        print(f"  {name} model: {one['samples']} samples under {one['schedules']} schedules: {told}", flush=True)
