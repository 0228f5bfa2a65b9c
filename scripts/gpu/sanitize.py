"""Runs small models on the GPU under NVIDIA's compute-sanitizer, if installed: accesses out of bounds, and races."""

import shutil
from pathlib import Path

from calls import Missed, call

# Models with their own head size, windows and soft caps; and with a latent vector and experts.
FAMILIES = ("gemma2", "deepseek_v2")
TOOLS = ("memcheck", "racecheck")
# Its exit status if it found something.
FOUND = 86
# Our kernels only. NVIDIA's library is not ours to check, proposes algorithms that it then rejects, and would take
# minutes.
OURS = "add_routed|assign_seats|attend|draw|embed|expand_slots|gate|gather_norm|join_norm|latent_store|masses|merge_parts"
OURS += "|multiply_|norm|product8|rotate_store|route|soft_cap|widen8"


def run(check):
    tool = sanitizer()
    if not tool or not check.device.startswith("cuda"):
        check.results["sanitize"] = {"absent": True}
        print("  compute-sanitizer is not here: left out", flush=True)
        return
    found = check.results["sanitize"] = {}
    for family in FAMILIES:
        for kind in TOOLS:
            command = [tool, "--tool", kind, "--error-exitcode", FOUND]
            command += ["--kernel-name", f"regex=^({OURS})", "--report-api-errors", "no", check.logits]
            command += [check.root / "engine/tests/fixtures" / family, "--device", check.device, "--schedules", 1]
            try:
                call(command, check.left(60), check.log)
                found[f"{kind} of {family}"] = True
            except Missed as missed:
                found[f"{kind} of {family}"] = False
                print(f"  {kind} of {family}: {missed}", flush=True)
    print(f"  {', '.join(f'{name}: {told(right)}' for name, right in found.items())}", flush=True)


def told(right):
    return "nothing" if right else "MISS"


def sanitizer():
    """From PATH, or from a toolkit outside of it."""
    toolkits = sorted(Path("/usr/local").glob("cuda*/bin/compute-sanitizer"), reverse=True)
    return shutil.which("compute-sanitizer") or next(iter(toolkits), None)
