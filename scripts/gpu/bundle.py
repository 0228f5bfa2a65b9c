"""What pack.py made, unpacked: the programs, and a real model that may have come in several parts."""

import hashlib
import lzma
import os
import shutil
import tempfile
from pathlib import Path

# Where `scripts/gpu-check --stage` puts parts that come ahead of the rest.
STAGED = Path("/tmp/jury-gpu-check")


def unpack(binary, work):
    """Paths of jury, of the logits example, and of the model or None."""
    folder = binary.parent
    programs = may_run(work)
    jury = plain(binary, programs)
    other = next((folder / name for name in ("logits.xz", "logits") if (folder / name).exists()), None)
    if other is None and (folder / "examples/logits").exists():
        other = folder / "examples/logits"
    logits = plain(other, programs) if other else folder / "logits"
    return jury, logits, model(folder, work)


def may_run(work):
    """A folder for programs: the given one, or one beside the system's others where programs of that may not run."""
    if not os.statvfs(work).f_flag & os.ST_NOEXEC:
        return work
    return Path(tempfile.mkdtemp(prefix="gpu-check-programs."))


def plain(path, folder):
    """The program itself: as it is, or out of its .xz."""
    if path.suffix != ".xz":
        return path.resolve()
    out = folder / path.stem
    with lzma.open(path) as packed, open(out, "wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    out.chmod(0o755)
    return out


def model(folder, work):
    """Whole beside the binary, or out of the parts here and staged. None where one is missing, or none came."""
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
