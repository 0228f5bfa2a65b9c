"""Targets and results: pure functions of the results of the steps."""

from dataclasses import dataclass
from typing import Callable, Optional


@dataclass
class Target:
    """`step` is the step whose failure explains a missing number."""

    what: str
    must: float
    aim: float
    unit: str
    step: str
    found: Callable[[dict], float]
    less: bool = False

    def judge(self, results):
        """(found or None, result)."""
        try:
            value = self.found(results)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None, "MISS (not measured)"
        sign = -1 if self.less else 1
        if sign * value >= sign * self.aim:
            return value, "PASS, aim reached"
        return value, "PASS" if sign * value >= sign * self.must else "MISS"

    def shown(self, value):
        if value is None:
            return "-"
        return f"{value * 100:.0f} %" if self.unit == "%" else f"{value:.2g}{self.unit}"


def decode(k):
    """Our rate divided by that of all matrix products of a step, both in tokens per second."""
    def share(results):
        return results["bench"][str(k)]["median"] * results["peer"]["limits"]["steps"][str(k)] / k
    return share


def eight(k):
    """Tokens per second with 8-bit weights, divided by those in bf16."""
    def gain(results):
        return results["eight"][str(k)]["median"] / results["bench"][str(k)]["median"]
    return gain


def prefill(results):
    return results["bench"]["prefill"]["median"] * results["peer"]["limits"]["prefill"] / results["sizes"]["prompt"]


def beyond(results):
    bench = results["bench"]
    return max(bench[name]["beyond"] for name in ("memory", "memory_groups") if name in bench) / 1e9


def targets(sizes):
    *few, most = sizes["k"]
    groups, prompt, shared = sizes["groups"], sizes["prompt"], sizes["shared_prompt"]

    def against(results):
        return results["bench"][str(most)]["median"] / results["peer"]["generate"][str(most)]["decode"]

    one = f"k = {few[0]}, {sizes['generated']} generated"
    many = f"k = {most * groups} ({groups} prompts x {most})"
    return [
        Target(f"{one}, of the products", 0.75, 0.92, "%", "bench", decode(few[0])),
        *(Target(f"k = {k}, of the products", 0.70, 0.90, "%", "bench", decode(k)) for k in [*few[1:], most]),
        Target(f"{many}, of the products", 0.50, 0.75, "%", "bench", decode(most * groups)),
        Target(f"k = {most}, {groups} prompts of {shared} at once, with sharing against without", 2, 3, "x", "sharing",
               lambda results: results["sharing"]["gain"]),
        Target(f"prefill of {prompt}, of the products", 0.50, 0.85, "%", "bench", prefill),
        Target(f"k = {most} against transformers' generate", 6, 10, "x", "bench", against),
        Target(f"k = {few[0]}, weights of 8 bits against bf16", 1.5, 1.8, "x", "eight", eight(few[0])),
        Target("peak memory beyond weights and pages", 2, 1, " GB", "bench", beyond, less=True),
    ]


def proofs(results):
    """(what, step, what was found or None, whether it holds)."""
    proved = [
        ("the fixtures, within what bf16 costs", "fixtures", *fixtures(results.get("fixtures"))),
        ("logits as near float32 as transformers' in bf16", "logits", *logits(results.get("logits"))),
        ("samples equal in all bits, whatever runs beside them", "schedules", *scheduled(results.get("schedules"))),
        ("a real model's verdicts equal when asked again", "judge", *flag(results.get("judge"), "equal")),
        ("the CPU's pick", "judge", *picks(results.get("judge"))),
    ]
    if (checked := results.get("sanitize")) != {"absent": True}:
        proved.append(("what compute-sanitizer finds", "sanitize", *sanitized(checked)))
    return proved


def fixtures(found):
    if not found:
        return None, False
    right = [name for name in found if found[name].get("ok")]
    return f"{', '.join(right) or 'none'} ({len(right)} of {len(found)})", len(right) == len(found)


def logits(found):
    if not found:
        return None, False
    ours, theirs = ("KL {mean:.1e}, top-1 {top1:.1%}".format(**found[side]) for side in ("ours", "transformers"))
    return f"{ours} (transformers: {theirs})", found["ok"]


def scheduled(found):
    if not found:
        return None, False
    told = (f"{one['samples']} of the {name} model" + ("" if one["equal"] else " NOT") for name, one in found.items())
    return ", ".join(told), all(one["equal"] for one in found.values())


def sanitized(found):
    if not found:
        return None, False
    faulty = [name for name, right in found.items() if not right]
    return ", ".join(faulty) or f"nothing in {len(found)} runs", not faulty


def flag(found, name) -> tuple[Optional[str], bool]:
    if not found or name not in found:
        return None, False
    return ("equal" if found[name] else "NOT equal"), bool(found[name])


def picks(found):
    if not found or "picks" not in found:
        return None, False
    told = f"{found['same']} of {found['picks']}, {found['near']} near a tie; rewards within {found['apart']:.3f}"
    return told, found["picks_ok"]
