"""Step 6: a real model behind `jury up`, called by `jury score`: verdicts of the GPU, repeated, and of the CPU."""

import contextlib
import json
import socket
import subprocess
import time

from calls import Missed, call, stop, tail

# Short and deterministic, so that GPU and CPU see the same text: their rewards then differ only by rounding.
ALIKE = ["-k", 2, "--temperature", 0, "--max-critique-tokens", 8]
# Picks may differ if the CPU's two best rewards are this close.
NEAR = 0.1
CPU_ITEMS = 3


def run(check):
    if not check.real_model:
        raise Missed("no real model was brought along")
    lines = (check.root / "examples/items.jsonl").read_text().splitlines()[: check.sizes["items"]]
    # A different item, so that the first calls warm up everything except the cache of the other prompts.
    other = json.dumps(json.loads((check.root / "examples/capital.json").read_text()))
    files = {"all": lines, "back": lines[::-1], "other": [other], "few": lines[:CPU_ITEMS]}
    for name, chosen in files.items():
        (check.work / f"{name}.jsonl").write_text("\n".join(chosen) + "\n")
    samples = ["-k", check.sizes["judge_k"], "--max-critique-tokens", check.sizes["judge_tokens"]]
    found = check.results["judge"] = {"model": check.real_model.name, "items": len(lines)}
    with serve(check, check.device) as endpoint:
        score(check, endpoint, "other", ALIKE)
        first, seconds = score(check, endpoint, "all", samples)
        found["reproducible"] = sorted({verdict["provenance"]["reproducible"] for verdict in first.values()})
        found["a_minute"] = len(lines) * 60 / seconds
        again, _ = score(check, endpoint, "back", [*samples, "--concurrency", 3])
        found["equal"] = first == again
        card, _ = score(check, endpoint, "all", ALIKE)
    print(f"  {found['a_minute']:.1f} verdicts a minute at k = {samples[1]}; again, in another order: "
          f"{'equal' if found['equal'] else 'NOT equal'}, {found['reproducible']}", flush=True)
    with serve(check, "cpu") as endpoint:
        # Before the rest: nothing of these prompts is cached yet, just as on the GPU.
        score(check, endpoint, "other", ALIKE)
        _, seconds = score(check, endpoint, "few", samples)
        found["cpu_a_minute"] = min(CPU_ITEMS, len(lines)) * 60 / seconds
        print(f"  the CPU beside it: {found['cpu_a_minute']:.1f} verdicts a minute", flush=True)
        cpu, _ = score(check, endpoint, "all", ALIKE)
    same_picks(found, card, cpu)
    print(f"  same pick as the CPU: {found['same']} of {found['picks']}, {found['near']} of the others near a tie; "
          f"rewards within {found['apart']:.3f}", flush=True)


def same_picks(found, card, cpu):
    picks = [name for name, verdict in cpu.items() if verdict["pick"] is not None]
    other = [name for name in picks if card[name]["pick"] != cpu[name]["pick"]]
    near = [name for name in other if margin(cpu[name]["rewards"]) < NEAR]
    differences = [
        abs(ours - theirs)
        for name in picks for ours, theirs in zip(card[name]["rewards"], cpu[name]["rewards"])
        if None not in (ours, theirs)
    ]
    found |= {"picks": len(picks), "same": len(picks) - len(other), "near": len(near)}
    found |= {"apart": max(differences, default=0.0), "picks_ok": bool(picks) and len(near) == len(other)}


def margin(rewards):
    best = sorted((reward for reward in rewards if reward is not None), reverse=True)
    return best[0] - best[1] if len(best) > 1 else float("inf")


@contextlib.contextmanager
def serve(check, device):
    """The address of a `jury up` on this device, once it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [check.jury, "up", "--model", check.real_model, "--device", device, "--listen", f"127.0.0.1:{port}"]
    with open(check.log, "ab") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        said = log.tell()
        child = subprocess.Popen(
            list(map(str, command)), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        until = time.monotonic() + check.left(60)
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            if child.poll() is not None or time.monotonic() > until:
                raise Missed(f"jury up --device {device} does not serve: {tail(check.log, said)}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(child)


def score(check, endpoint, name, options=()):
    """Verdicts by item, without the fields that may differ between two runs, and the seconds they took."""
    out = check.work / f"{name}.verdicts.jsonl"
    out.unlink(missing_ok=True)
    command = [check.jury, "score", "--items", check.work / f"{name}.jsonl", "--endpoint", endpoint, "--out", out]
    started = time.monotonic()
    call([*command, "--quiet", "--budget", "5m", *options], check.left(120), check.log)
    seconds = time.monotonic() - started
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    for verdict in verdicts:
        del verdict["run"]
    return {verdict["item_id"]: verdict for verdict in verdicts}, seconds
