"""Unpacks the output of pack.py: the programs, and optionally a real model, possibly in several parts."""

import hashlib
import lzma
import os
import shutil
import tempfile
from pathlib import Path

# Where `scripts/gpu-check --stage` puts the parts that arrive before the last one.
STAGED = Path("/tmp/jury-gpu-check")


def unpack(binary, work):
    """Paths of jury, the logits example, and the model or None."""
    folder = binary.parent
    programs = may_run(work)
    jury = plain(binary, programs)
    other = next((folder / name for name in ("logits.xz", "logits") if (folder / name).exists()), None)
    if other is None and (folder / "examples/logits").exists():
        other = folder / "examples/logits"
    logits = plain(other, programs) if other else folder / "logits"
    return jury, logits, model(folder, work)


def may_run(work):
    """A folder for programs: the given one, or a system folder if programs may not run from the given one."""
    if not os.statvfs(work).f_flag & os.ST_NOEXEC:
        return work
    return Path(tempfile.mkdtemp(prefix="gpu-check-programs."))


def plain(path, folder):
    """The program itself: unchanged, or decompressed from its .xz."""
    if path.suffix != ".xz":
        return path.resolve()
    out = folder / path.stem
    with lzma.open(path) as packed, open(out, "wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    out.chmod(0o755)
    return out


def model(folder, work):
    """The whole model next to the binary, or assembled from the parts here and the staged ones. None if a part or all
    of it is missing."""
    whole = sorted(folder.glob("*.gguf"))
    if whole:
        return whole[0].resolve()
    sums = folder / "model.sha256"
    if not sums.exists():
        return None
    out, packed = work / "model.gguf", b""
    for line in sums.read_text().splitlines():
        digest, name = line.split()
        part = next((at / name for at in (folder, STAGED) if (at / name).exists()), None)
        data = part.read_bytes() if part else b""
        if hashlib.sha256(data).hexdigest() != digest:
            print(f"{name} is missing or another one: no real model", flush=True)
            return None
        packed += data
    out.write_bytes(lzma.decompress(packed))
    return out
