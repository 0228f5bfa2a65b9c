#!/usr/bin/env python3
"""Packs what scripts/gpu-check needs on a machine to which only a few files can be copied.

    scripts/gpu/pack.py --jury target/release/jury --logits target/release/examples/logits --model FILE.gguf .gpu

Programs are stripped, everything is compressed (xz) and put into .gpu/1, .gpu/2 .. of at most --at-most MiB each. All
parts but the last are staged there first (`scripts/gpu-check --stage .gpu/1`); the last contains the programs, for
`--binary .gpu/2/jury.xz`. The folder should be ignored by git: `echo /.gpu/ >>.git/info/exclude`.
"""

import argparse
import hashlib
import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]


def program(path, out):
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-o", stripped.name, path], check=True)
        with lzma.open(out, "wb", preset=6) as packed:
            shutil.copyfileobj(stripped, packed, MIB)
    print(f"{out}: {out.stat().st_size / MIB:.1f} MiB")


def smaller(model, quantise, folder):
    """Quantises every weight to four bits."""
    out = Path(folder) / "model.gguf"
    command = [quantise, "--pure", "--allow-requantize", model, out, "Q4_0"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jury", type=Path, required=True)
    parser.add_argument("--logits", type=Path)
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--quantise", help="llama-quantize, for four bits a weight [the file as it is]")
    parser.add_argument("--at-most", type=float, default=46, metavar="MIB", help="of one folder [46]")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    last = args.folder / "last"
    last.mkdir(parents=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    (last / "commit").write_text(commit)
    for name in ("jury", "logits"):
        if path := getattr(args, name):
            program(path, last / f"{name}.xz")
    parts = []
    if args.model:
        with tempfile.TemporaryDirectory() as folder:
            model = smaller(args.model, args.quantise, folder) if args.quantise else args.model
            parts = cut(lzma.compress(model.read_bytes(), preset=6), last, int(args.at_most * MIB))
    sums = [f"{hashlib.sha256(part).hexdigest()} model.xz.{number}\n" for number, part in enumerate(parts)]
    if sums:
        (last / "model.sha256").write_text("".join(sums))
    for number, part in enumerate(parts[1:], 1):
        (args.folder / str(number)).mkdir()
        (args.folder / str(number) / f"model.xz.{number}").write_bytes(part)
    if parts:
        (last / "model.xz.0").write_bytes(parts[0])
    last = last.rename(args.folder / str(max(len(parts), 1)))
    for path in sorted(args.folder.iterdir()):
        print(f"{path}: {sum(file.stat().st_size for file in path.iterdir()) / MIB:.1f} MiB")


def cut(packed, last, most):
    """First whatever fits beside the programs, then whole folders."""
    room = max(most - sum(file.stat().st_size for file in last.iterdir()), 0)
    rest = packed[room:]
    return [packed[:room], *(rest[at : at + most] for at in range(0, len(rest), most))]


if __name__ == "__main__":
    main()
