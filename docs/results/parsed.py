#!/usr/bin/env python3
"""The share of samples that gave scores, in per cent, with a 95 % interval clustered by query: percentiles of 10,000
bootstrap resamples of whole queries. docs/training.md has what it printed.

    parsed.py FOLDER..      folders of `jury eval`
"""

import json
import random
import sys
from collections import defaultdict
from pathlib import Path

RESAMPLES = 10_000


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def query_of(item):
    """Letters and digits of the whole conversation in lower case, as `jury eval` tells queries apart."""
    query = item["query"]
    text = query if isinstance(query, str) else "\n".join(turn["content"] for turn in query)
    return "".join(sign.lower() if sign.isalnum() else " " for sign in text).split()


for folder in map(Path, sys.argv[1:]):
    queries = {item["id"]: tuple(query_of(item)) for item in lines(folder / "items.jsonl")}
    by_query = defaultdict(lambda: [0, 0])
    for verdict in lines(folder / "verdicts.jsonl"):
        counts = by_query[queries[verdict["item_id"]]]
        counts[0] += sum(sample.get("scores") is not None for sample in verdict["samples"])
        counts[1] += len(verdict["samples"])
    counts = list(by_query.values())
    dice = random.Random(0)

    def share(drawn):
        return 100 * sum(right for right, _ in drawn) / sum(of for _, of in drawn)

    shares = sorted(share(dice.choices(counts, k=len(counts))) for _ in range(RESAMPLES))
    low, high = shares[RESAMPLES * 25 // 1000], shares[RESAMPLES * 975 // 1000]
    print(f"{folder}: {share(counts):.1f} ({low:.1f} to {high:.1f}), {len(counts)} queries")
