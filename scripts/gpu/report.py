"""The final report: a table as text, the same as Markdown for docs/gpu.md, and everything as JSON."""

import json

from shapes import SHAPES, kv_bytes, least_gain
from targets import proofs, targets


def write(results, out, wanted):
    """Prints and writes the report. True if every target was met."""
    sizes = results["sizes"]
    judged = [(target, *target.judge(results)) for target in targets(sizes) if target.step in wanted]
    proved = [proof for proof in proofs(results) if proof[1] in wanted]
    rows = [
        (target.what, target.shown(target.must), target.shown(target.aim), target.shown(value), result)
        for target, value, result in judged
    ]
    proofs_rows = [
        (what, found or "-", ("PASS" if holds else "MISS") + ("" if found else " (not measured)"))
        for what, _, found, holds in proved
    ]
    results["targets"] = [
        {"what": target.what, "must": target.must, "aim": target.aim, "found": value, "result": result}
        for target, value, result in judged
    ]
    results["proofs"] = [{"what": what, "found": found, "result": result} for what, found, result in proofs_rows]
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    heads = ("target", "must", "aim", "found", "result"), ("proof", "found", "result")
    missed = [f"{step}: {why[:300]}" for step, why in results["missed"].items()]
    spent = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in results["seconds"].items())
    tables = [(head, rows) for head, rows in zip(heads, (rows, proofs_rows)) if rows]
    text = "\n\n".join(["", *(columns(head, rows) for head, rows in tables), "\n".join([*missed, spent])])
    (out / "report.txt").write_text(text + "\n")
    print(text)
    lines = [heading(results), ""]
    for head, rows in tables:
        lines += [*table(head, rows), ""]
    lines += [*figures(results), "", *beside(results), *(f"* Not measured: {line}" for line in missed)]
    (out / "report.md").write_text("\n".join(lines).rstrip() + "\n")
    return not missed and all("MISS" not in result for *_, result in judged) and all(holds for *_, holds in proved)


def columns(head, rows):
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [head, *rows])


def table(head, rows):
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


def heading(results):
    facts = results["facts"]
    where = "A dry run without a card: its figures mean nothing"
    if facts["card"] and results["device"] != "cpu":
        where = f"{facts['card']}, {facts['memory']}, driver {facts['driver']}"
    shape = f"random weights in bf16 of the shape {results['shape']}"
    return f"### {where}\n\n{facts['date']}, {facts['version']}, commit {facts['commit']}; {shape}."


def figures(results):
    """Tokens per second behind the ratios."""
    bench, peer = results.get("bench", {}), results.get("peer", {})
    limits, generate = peer.get("limits"), peer.get("generate", {})
    sizes = results["sizes"]
    most = sizes["k"][-1] * sizes["groups"]
    rows = []
    if not bench and not peer:
        return []
    for name in ["prefill", *map(str, [*sizes["k"], most])]:
        ours, theirs, limit = bench.get(name), generate.get(name), None
        if limits:
            work = sizes["prompt"] / limits["prefill"] if name == "prefill" else int(name) / limits["steps"][name]
            limit = f"{work:,.0f}"
        told = f"{ours['median']:,.0f} ({ours['min']:,.0f} to {ours['max']:,.0f})" if ours else "-"
        them = f"{theirs['decode']:,.0f}" if theirs else "-"
        rows.append((name if name == "prefill" else f"k = {name}", told, them, limit or "-"))
    head = (f"tokens a second, prompt {sizes['prompt']}", "ours", "transformers", "all matrix products, a CUDA graph")
    return table(head, rows)


def beside(results):
    """Additional facts, one line each."""
    lines, shape, sizes = [], SHAPES[results["shape"]], results["sizes"]
    peer, judge, sharing = results.get("peer", {}), results.get("judge", {}), results.get("sharing")
    if "limits" in peer:
        lines.append(f"* A copy: {peer['limits']['copy'] / 1e12:.2f} TB/s, read and written. Torch {peer['torch']}.")
    if sharing:
        k, groups, prompt = sizes["k"][-1], sizes["groups"], sizes["shared_prompt"]
        gain = least_gain(shape, k, groups, prompt, sizes["generated"])
        shared, apart = sharing["shared"]["median"], sharing["apart"]["median"]
        lines.append(
            f"* {groups} prompts of {prompt} x {k}: {shared:,.0f} tokens a second, {apart:,.0f} without sharing; by "
            f"bytes alone sharing gains {gain:.1f}x ({kv_bytes(shape):,} bytes a token)."
        )
    if "eight" in results:
        rates = (f"{name if name == 'prefill' else f'k = {name}'}: {of['median']:,.0f}" for name, of in results["eight"].items())
        lines.append(f"* Weights of 8 bits, tokens a second: {', '.join(rates)}.")
    for name in ("memory", "memory_groups"):
        found = results.get("bench", {}).get(name) or {}
        if None not in found.values() and found:
            used, weights, pages = (found[part] / 1e9 for part in ("used", "weights", "pages"))
            lines.append(f"* Memory: {used:.2f} GB at its peak, weights {weights:.2f}, pages {pages:.2f}.")
    if "a_minute" in judge:
        told = f"* {judge['model']}, k = {sizes['judge_k']}: {judge['a_minute']:.1f} verdicts a minute"
        told += f", {', '.join(judge['reproducible'])}"
        lines.append(told + (f"; the CPU beside it {judge['cpu_a_minute']:.1f}." if "cpu_a_minute" in judge else "."))
    return lines
