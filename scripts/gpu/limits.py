"""The limits of the device itself, through torch: a copy, and all matrix products of one step of a shape."""

import statistics
import time

import torch

from shapes import product_bytes, products


def copy_bandwidth(device, size, rounds=10):
    """Bytes per second, read plus written."""
    source = torch.empty(size, dtype=torch.uint8, device=device).random_(0, 256)
    target = torch.empty_like(source)
    return 2 * size / timed(device, lambda: target.copy_(source), rounds)


def step_seconds(shape, device, rows, whole_head=True, rounds=10):
    """The products of one step with this many rows, with separate weights for each layer; on a GPU as one CUDA graph.
    Experts have equal shares."""
    dtype = torch.bfloat16
    generator = torch.Generator(device).manual_seed(rows)

    def random(*size):
        return torch.randn(size, generator=generator, device=device, dtype=dtype)

    *kinds, head = products(shape, rows)
    # A prefill needs the logits of its last row only.
    last = (random(rows if whole_head else 1, head.inputs), random(head.outputs, head.inputs))
    works = []
    for kind in kinds:
        x = random(kind.matrices, kind.height(rows), kind.inputs)
        weights = [random(kind.matrices, kind.outputs, kind.inputs) for _ in range(kind.layers)]
        works.append((x, weights, random(kind.matrices, kind.height(rows), kind.outputs)))

    def step():
        for layer in range(shape["num_hidden_layers"]):
            for x, weights, out in works:
                if layer >= len(weights):
                    continue
                if len(x) == 1:
                    torch.mm(x[0], weights[layer][0].t(), out=out[0])
                else:
                    torch.bmm(x, weights[layer].transpose(1, 2), out=out)
        torch.mm(last[0], last[1].t())

    return timed(device, captured(step) if device.startswith("cuda") else step, rounds)


def captured(step):
    """The step as one launch."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def timed(device, work, rounds):
    """Seconds: the median of the rounds, after three warm-up rounds."""
    on_card = device.startswith("cuda")
    seconds = []
    for number in range(rounds + 3):
        if on_card:
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if on_card:
            torch.cuda.synchronize()
        if number >= 3:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(shape, device, sizes):
    found = {"copy": copy_bandwidth(device, sizes["copy_bytes"]), "product_bytes": product_bytes(shape), "steps": {}}
    for rows in sizes["rows"]:
        found["steps"][str(rows)] = step_seconds(shape, device, rows)
        print(f"  products for {rows} rows: {found['steps'][str(rows)] * 1e3:.3f} ms", flush=True)
    found["prefill"] = step_seconds(shape, device, sizes["prompt"], whole_head=False, rounds=5)
    print(f"  products of a prefill of {sizes['prompt']}: {found['prefill'] * 1e3:.2f} ms", flush=True)
    print(f"  copy: {found['copy'] / 1e12:.3f} TB/s, read and written", flush=True)
    return found
