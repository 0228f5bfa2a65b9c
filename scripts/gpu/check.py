"""The steps of scripts/gpu-check, most important first. See the header of that script for usage."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import bench
import bundle
import fixtures
import judge
import logits
import report
import sanitize
from calls import Missed, call, json_of
from shapes import SHAPES, product_bytes

ROOT = Path(__file__).resolve().parents[2]
BUDGET = 345
FULL = dict(
    prompt=1500, generated=64, k=[1, 8, 32], groups=8, shared_prompt=2000, rows=[1, 8, 32, 256], rounds=3, texts=8,
    cuts=12, shortest=200, longest=1500, schedules=3, real_schedules=6, items=10, judge_k=8, judge_tokens=512,
    copy_bytes=4 << 30,
)
QUICK = FULL | dict(texts=4, cuts=4, rounds=1, schedules=2, real_schedules=5, items=4)
TINY = QUICK | dict(
    prompt=96, generated=8, k=[1, 2, 4], groups=2, shared_prompt=128, rows=[1, 2, 4, 8], shortest=20, longest=96,
    real_schedules=2, items=3, judge_k=2, judge_tokens=16, copy_bytes=1 << 26,
)


class Check:
    def __init__(self, args):
        self.root, self.args, self.device, self.shape = ROOT, args, args.device, args.shape
        self.sizes = TINY if args.shape.startswith("tiny") else QUICK if args.quick else FULL
        self.until = self.step_until = time.monotonic() + args.budget
        # A larger total budget enlarges each step's limit as well.
        self.stretch = max(1.0, args.budget / BUDGET)
        self.out = Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = self.out / "log"
        self.log.write_text("")
        self.work = self.results_folder = Path(args.work or roomy(product_bytes(SHAPES[args.shape]) * 2))
        self.work.mkdir(parents=True, exist_ok=True)
        self.model_folder = self.work / f"random-{args.shape}"
        self.results = {"shape": args.shape, "device": args.device, "sizes": self.sizes, "missed": {}, "seconds": {}}
        if (told := self.work / "peer.json").exists():
            self.results["peer"] = json.loads(told.read_text())

    def left(self, most):
        """Seconds that a call may take: the minimum of its own limit, its step's and the total."""
        return min(most * self.stretch, min(self.step_until, self.until) - time.monotonic())

    def peer(self):
        command = [sys.executable, ROOT / "scripts/gpu/peer.py", self.model_folder, self.work, self.shape]
        command.append(self.args.peer_device or self.device)
        try:
            call([*command, json.dumps(self.sizes)], self.left(160), self.log, {"PYTHONUNBUFFERED": "1"}, echo=True)
        finally:
            if (told := self.work / "peer.json").exists():
                self.results["peer"] = json.loads(told.read_text())

    def doctor(self):
        self.results["doctor"] = told = json_of(call([self.jury, "doctor", "--json"], self.left(30), self.log))
        words = ("gpu", "cuda", "card", "device", "broken", "warnings")
        print("  " + json.dumps({name: told[name] for name in told if any(word in name for word in words)}), flush=True)


# What each step does, and its limit in seconds.
STEPS = {
    # The driver compiles the kernels in its first call, and caches them.
    "fixtures": (fixtures.run, 100),
    "model": (Check.peer, 150),
    "logits": (logits.compare, 70),
    "bench": (bench.run, 110),
    "schedules": (logits.schedules, 70),
    "sharing": (bench.sharing, 80),
    "eight": (bench.eight, 60),
    "judge": (judge.run, 120),
    "doctor": (Check.doctor, 20),
    "sanitize": (sanitize.run, 90),
}


def roomy(size):
    """A folder in memory if there is room: gigabytes of weights are written and read there quickly."""
    memory = Path("/dev/shm")
    fits = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > size
    return tempfile.mkdtemp(prefix="gpu-check.", dir=memory if fits else None)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/gpu-check", description=__doc__)
    parser.add_argument("--binary", required=True, help="jury, or jury.xz; logits(.xz) and a .gguf(.xz) lie beside it")
    parser.add_argument("--out", required=True, help="the folder for report.txt, report.md, results.json and log")
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to try the script")
    parser.add_argument("--peer-device", help="torch's, where it is another one [--device]")
    parser.add_argument("--shape", default="qwen2.5-7b", choices=SHAPES)
    parser.add_argument("--steps", help=f"comma-separated, of {','.join(STEPS)} [all]")
    parser.add_argument("--quick", action="store_true", help="fewer texts, rounds and schedules")
    parser.add_argument("--budget", type=float, default=BUDGET, help=f"seconds for everything [{BUDGET}]")
    parser.add_argument("--work", help="the folder for weights, kept; a later call with it finds the model [a new one]")
    parser.add_argument("--commit", help="of the binary [what pack wrote beside it, else of this checkout]")
    return parser.parse_args()


def beside(*command):
    """A program that runs silently beside the steps; None if there is no such program."""
    try:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return None


def find_products(work):
    """Sets the folder of the cuBLASLt that came with torch, unless another is named: not every toolkit has it."""
    found = [path for entry in sys.path for path in Path(entry).glob("nvidia/*/lib/libcublasLt.so.*")]
    if not found or "JURY_CUDA_LIBRARIES" in os.environ:
        return
    library = max(found, key=lambda path: path.name)
    # It is also searched by its unversioned name, for which a toolkit's copy would take precedence.
    named = work / "libraries" / "libcublasLt.so"
    named.parent.mkdir(exist_ok=True)
    named.unlink(missing_ok=True)
    named.symlink_to(library.resolve())
    os.environ["JURY_CUDA_LIBRARIES"] = str(library.parent)
    path = [str(named.parent), str(library.parent), os.environ.get("LD_LIBRARY_PATH")]
    os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, path))
    print(f"JURY_CUDA_LIBRARIES={library.parent}", flush=True)


def facts(check, folder):
    """When, what and where."""

    def said(*command):
        try:
            return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=20).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return ""

    number = check.device.partition(":")[2] or "0"
    query = ["nvidia-smi", f"--id={number}", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    card, _, rest = said(*query).partition(", ")
    driver, _, memory = rest.partition(", ")
    written = folder / "commit"
    commit = check.args.commit or (written.read_text().strip() if written.exists() else "")
    commit = commit or said("git", "rev-parse", "--short", "HEAD") or "unknown"
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "commit": commit, "card": card,
        "driver": driver, "memory": memory, "version": said(str(check.jury), "--version"),
    }


def main():
    args = arguments()
    wanted = args.steps.split(",") if args.steps else list(STEPS)
    if unknown := [name for name in wanted if name not in STEPS]:
        sys.exit(f"--steps: {unknown[0]} is none of {','.join(STEPS)}")
    check = Check(args)
    if args.device.startswith("cuda"):
        find_products(check.work)
    # Makes the driver keep its compiled kernels from one program to the next, wherever the home folder is.
    os.environ.setdefault("CUDA_CACHE_PATH", str(check.work / "compiled"))
    helpers = [
        # Meanwhile, reads their files from the disk.
        beside(sys.executable, "-c", "import torch, transformers"),
        # An unused driver is initialised again by each program, which takes a second or more.
        beside("nvidia-smi", "--query-gpu=name", "--format=csv", "--loop=2"),
    ]
    try:
        check.jury, check.logits, check.real_model = bundle.unpack(Path(args.binary), check.work)
        check.results["facts"] = facts(check, Path(args.binary).parent)
        print(json.dumps(check.results["facts"]), flush=True)
        for name in STEPS:
            if name in wanted:
                step(check, name)
    finally:
        for helper in filter(None, helpers):
            helper.kill()
            helper.wait()
        if not args.work:
            shutil.rmtree(check.work, ignore_errors=True)
    sys.exit(0 if report.write(check.results, check.out, wanted) else 1)


def step(check, name):
    started = time.monotonic()
    print(f"== {name} ({check.until - started:.0f} s left)", flush=True)
    try:
        work, seconds = STEPS[name]
        check.step_until = started + seconds * check.stretch
        if check.left(10) < 10:
            raise Missed("no time was left")
        work(check)
    except Exception as error:
        told = str(error) if isinstance(error, Missed) else f"{type(error).__name__}: {error}"
        check.results["missed"][name] = told
        print(f"  MISSED: {told[:600]}", flush=True)
    check.results["seconds"][name] = round(time.monotonic() - started, 1)
    (check.out / "results.json").write_text(json.dumps(check.results, indent=1) + "\n")


if __name__ == "__main__":
    main()
