"""`jury bench engine` on the random model: with and without prefix-sharing attention, and with 8-bit weights."""

from calls import Missed, call, json_of
from memory import Sampler


def run(check):
    """k samples of one prompt, then of several concurrent prompts."""
    sizes, found = check.sizes, {}
    check.results["bench"] = found
    one = ["--k", ",".join(map(str, sizes["k"])), "--prompt", sizes["prompt"]]
    report, memory = measure(check, one)
    found["prefill"] = rate(report, None)
    for k in sizes["k"]:
        found[str(k)] = rate(report, k)
    found["memory"] = memory
    print("  " + ", ".join(f"{name}: {found[name]['median']:.0f}/s" for name in found if name != "memory"), flush=True)
    k, groups = sizes["k"][-1], sizes["groups"]
    report, found["memory_groups"] = measure(check, ["--k", k, "--groups", groups, "--prompt", sizes["prompt"]])
    found[str(k * groups)] = rate(report, k, groups)
    print(f"  {groups} prompts x {k}: {found[str(k * groups)]['median']:.0f}/s", flush=True)


def sharing(check):
    sizes = check.sizes
    k, groups = sizes["k"][-1], sizes["groups"]
    options = ["--k", k, "--groups", groups, "--prompt", sizes["shared_prompt"], "--sharing", "both"]
    report, _ = measure(check, options)
    found = {name: rate(report, k, groups, value) for name, value in (("shared", True), ("apart", False))}
    found["gain"] = found["shared"]["median"] / found["apart"]["median"]
    check.results["sharing"] = found
    shared, apart = found["shared"]["median"], found["apart"]["median"]
    print(f"  {shared:.0f}/s shared, {apart:.0f}/s not: {found['gain']:.2f}x", flush=True)


def eight(check):
    """With 8-bit weights: one prompt's samples, and its prefill."""
    sizes = check.sizes
    few, most = sizes["k"][0], sizes["k"][-1]
    options = ["--k", f"{few},{most}", "--prompt", sizes["prompt"], "--card-weights", "int8"]
    report, _ = measure(check, options)
    found = {"prefill": rate(report, None), **{str(k): rate(report, k) for k in (few, most)}}
    check.results["eight"] = found
    print("  " + ", ".join(f"{name}: {found[name]['median']:.0f}/s" for name in found), flush=True)


def measure(check, options):
    """The report, and the memory used."""
    command = [check.jury, "bench", "engine", "--models", check.model_folder, "--no-peer", "--json"]
    command += ["--generated", check.sizes["generated"], "--rounds", check.sizes["rounds"], *options]
    command += ["--device", check.device]
    with Sampler(check.device) as sampler:
        report = json_of(call(command, check.left(120), check.log))
    told = report.get("memory") or {}
    weights, pages = told.get("weights_bytes"), told.get("kv_bytes")
    memory = {"used": sampler.used, "weights": weights, "pages": pages}
    if None not in memory.values():
        memory["beyond"] = sampler.used - weights - pages
    return report, memory


def rate(report, k, groups=1, sharing=None):
    """Tokens per second: median, minimum and maximum of the rounds."""
    for row in report["rows"]:
        same = row["k"] == k and row.get("groups", 1) == groups
        if same and (sharing is None or row.get("sharing") is sharing):
            return {name: row["ours"][name] for name in ("median", "min", "max")}
    raise Missed(f"no row with k {k}, {groups} groups, sharing {sharing}")
