"""The torch and transformers side: makes the model, and measures its output and its speed.

    peer.py FOLDER RESULTS SHAPE DEVICE SIZES    the model's folder, where results go, a name, cpu or cuda:N, JSON

Rewrites RESULTS/peer.json after each part, and writes the logits into RESULTS/logits.safetensors, so that finished
parts count even if it is stopped early.
"""

import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

import limits
from model import make, write
from shapes import SHAPES
from texts import cuts, texts


def logits(model, device, sizes, shape):
    """Logits after each beginning, in the order of texts.beginnings."""
    rows = []
    with torch.no_grad():
        for text in texts(sizes, shape["vocab_size"]):
            ids = torch.tensor([text], device=device)
            wanted = torch.tensor([cut - 1 for cut in cuts(sizes, text)], device=device)
            rows.append(model(input_ids=ids, use_cache=False, logits_to_keep=wanted).logits[0].float().cpu())
    return torch.cat(rows).contiguous()


def generate(model, device, sizes, k, shape):
    """Tokens per second for k samples of one prompt: all tokens, and those after each sample's first."""
    prompt = torch.randint(shape["vocab_size"], (1, sizes["prompt"]), generator=torch.Generator().manual_seed(k))
    prompt = prompt.to(device)

    def seconds(tokens):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        started = time.perf_counter()
        with torch.no_grad():
            out = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=True, temperature=0.8, top_p=0.95, top_k=0,
                num_return_sequences=k, min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0,
            )
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        assert out.shape == (k, sizes["prompt"] + tokens), out.shape
        return time.perf_counter() - started

    seconds(2)
    first, whole = seconds(1), seconds(sizes["generated"])
    decoded = k * (sizes["generated"] - 1)
    return {"decode": decoded / max(whole - first, 1e-9), "whole": k * sizes["generated"] / whole}


def main():
    folder, results = Path(sys.argv[1]), Path(sys.argv[2])
    shape, device, sizes = SHAPES[sys.argv[3]], sys.argv[4], json.loads(sys.argv[5])
    if not device.startswith("cuda"):
        torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found, kept, started = {"torch": torch.__version__}, {}, time.perf_counter()
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
        card = torch.cuda.get_device_properties(device)
        found["card"] = {"name": card.name, "memory": card.total_memory, "capability": f"{card.major}.{card.minor}"}

    def tell(name, value):
        nonlocal started
        found[name] = value
        (results / "peer.json").write_text(json.dumps(found, indent=1))
        now = time.perf_counter()
        print(f"  {name}: {now - started:.1f} s", flush=True)
        started = now

    model = make(shape, device)
    tell("weights", sum(weight.numel() * 2 for weight in model.parameters()))
    tell("file", write(model, shape, folder))
    kept["bf16"] = logits(model, device, sizes, shape)
    tell("lists", len(kept["bf16"]))
    found["generate"] = {}
    for k in sizes["k"]:
        found["generate"][str(k)] = generate(model, device, sizes, k, shape)
        tell("generate", found["generate"])
    tell("limits", limits.measure(shape, device, sizes))
    save_file(kept, results / "logits.safetensors")
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    model.float()
    kept["f32"] = logits(model, device, sizes, shape)
    save_file(kept, results / "logits.safetensors")
    tell("deviation", kept["f32"].std().item())


if __name__ == "__main__":
    main()
