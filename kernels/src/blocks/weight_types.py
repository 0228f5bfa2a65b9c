#!/usr/bin/env python3
"""Records blocks of weight types and what llama.cpp reads in them. Standard library only.

  weight_types.py LLAMA_QUANTIZE MODEL.gguf > weight_types.json

MODEL is SmolLM2-135M-Instruct in Q8_0; LLAMA_QUANTIZE is the program of that name (`scripts/llama-cpp` prints its
folder and makes that file). Each type's file is written, and read back by a conversion to F32.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

# By the name of the file's type: the type, its code, weights and bytes a block, and a tensor that has it.
TYPES = {"Q2_K": ("Q2_K", 10, 256, 84, "blk.3.ffn_down.weight"), "Q3_K_S": ("Q3_K", 11, 256, 110, "blk.3.ffn_down.weight"),
         "IQ4_NL": ("IQ4_NL", 20, 32, 18, "blk.3.attn_q.weight"), "IQ4_XS": ("IQ4_XS", 23, 256, 136, "blk.3.ffn_down.weight")}
WEIGHTS = 768
FORMS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TEXT, LIST = 8, 9


def skip(data, at, kind):
    if kind == TEXT:
        return at + 8 + struct.unpack_from("<Q", data, at)[0]
    if kind == LIST:
        inner, count = struct.unpack_from("<IQ", data, at)
        at += 12
        for _ in range(count):
            at = skip(data, at, inner)
        return at
    return at + FORMS[kind]


def tensor(path, wanted, count):
    """The type and the first bytes of a tensor."""
    with open(path, "rb") as file:
        data = file.read(16 << 20)
        n_tensors, n_entries = struct.unpack_from("<QQ", data, 8)
        at = 24
        for _ in range(n_entries):
            at += 8 + struct.unpack_from("<Q", data, at)[0]
            at = skip(data, at + 4, struct.unpack_from("<I", data, at)[0])
        for _ in range(n_tensors):
            length = struct.unpack_from("<Q", data, at)[0]
            name = data[at + 8:at + 8 + length].decode()
            at += 8 + length
            rank = struct.unpack_from("<I", data, at)[0]
            kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * rank)
            at += 16 + 8 * rank
            if name == wanted:
                found = kind, offset
        file.seek(-(-at // 32) * 32 + found[1])
        return found[0], file.read(count)


def main():
    program, model = sys.argv[1:]
    recorded = {}
    with tempfile.TemporaryDirectory() as folder:
        narrow, wide = os.path.join(folder, "narrow.gguf"), os.path.join(folder, "wide.gguf")
        for name, (kind, code, per_block, block_bytes, where) in TYPES.items():
            quantize = [program, "--allow-requantize"]
            subprocess.run([*quantize, "--pure", model, narrow, name], check=True, capture_output=True)
            subprocess.run([*quantize, narrow, wide, "F32"], check=True, capture_output=True)
            found, blocks = tensor(narrow, where, WEIGHTS // per_block * block_bytes)
            assert found == code, f"{where} has type {found} in {name}"
            floats = struct.unpack(f"<{WEIGHTS}I", tensor(wide, where, WEIGHTS * 4)[1])
            recorded[kind] = {"blocks": list(blocks), "float_bits": floats}
    print("{" + ",\n".join(f'"{kind}": {json.dumps(one, separators=(",", ":"))}' for kind, one in recorded.items()) + "}")


if __name__ == "__main__":
    main()
