"""Samples as Parquet, read by a program that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import polars

from .conftest import SHORT_TEMPLATE

PAIR = {"id": "pair", "query": "What is 2 + 2?", "responses": ["4", "5"], "best": 0}
SINGLE = {"id": "single", "query": "Name a colour.", "responses": ["Red."], "source": "colours"}
TEXT, LIST = polars.String, polars.List
TYPES = {
    "item_id": TEXT,
    "query_key": TEXT,
    "source": TEXT,
    "category": TEXT,
    "index": polars.Int32,
    "seed": polars.Int64,
    "order": LIST(polars.Int32),
    "principles": TEXT,
    "critique": TEXT,
    "scores": LIST(polars.Float64),
    "score_levels": polars.Int32,
    "score_distribution": LIST(polars.Float64),
    "readout_mass": polars.Float64,
    "forced": polars.Boolean,
    "failure": TEXT,
    "failure_detail": TEXT,
    "finish": TEXT,
    "issues": TEXT,
    "prompt_tokens": polars.Int32,
    "generated_tokens": polars.Int32,
    "meta_score": polars.Float64,
    "hidden_state": LIST(polars.Float32),
    "is_correct": polars.Boolean,
    "model": TEXT,
    "model_digest": TEXT,
    "numerics": TEXT,
    "method_digest": TEXT,
    "settings": TEXT,
    "meta_digest": TEXT,
    "meta_numerics": TEXT,
}


def record(folder: Path, model: str, *more: str) -> polars.DataFrame:
    """The samples of `jury score --record`, two an item."""
    items, file = folder / "items.jsonl", folder / "samples.parquet"
    items.write_text("\n".join(json.dumps(item) for item in (PAIR, SINGLE)))
    command = [os.environ["JURY_BINARY"], "score", "--items", str(items), "--out", str(folder / "verdicts.jsonl")]
    command += ["--record", str(file), "--model", model, "--template", SHORT_TEMPLATE]
    command += ["-k", "2", "--max-critique-tokens", "1", "--quiet", *more]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert file.exists(), ended.stderr
    return polars.read_parquet(file).sort("item_id", "index")


def test_polars_reads_samples_with_their_types_and_lists(tmp_path: Path, tiny_model: str) -> None:
    found = record(tmp_path, tiny_model, "--min-readout-mass", "0")
    assert dict(found.schema) == TYPES
    assert found["item_id"].to_list() == ["pair", "pair", "single", "single"]
    assert found["index"].to_list() == [0, 1, 0, 1]
    assert [sorted(order) for order in found["order"].to_list()] == [[0, 1], [0, 1], [0], [0]]
    assert found["scores"].list.len().to_list() == [2, 2, 1, 1]
    assert found["scores"].explode().is_between(1, 10).all()
    # The probabilities of all scores, one response after the other: each response's add up to 1.
    distributions = found["score_distribution"]
    assert (distributions.list.len() == found["scores"].list.len() * found["score_levels"]).all()
    sums = zip(distributions.list.sum().to_list(), found["scores"].list.len().to_list())
    assert all(abs(total - n) < 1e-6 for total, n in sums)
    assert found["source"].to_list() == [None, None, "colours", "colours"]
    # Nothing tells whether a sample of an item without a label is right.
    assert found["is_correct"].is_null().to_list() == [False, False, True, True]
    for nobody in ("category", "failure", "meta_score", "meta_digest", "meta_numerics", "hidden_state"):
        assert found[nobody].is_null().all(), nobody
    assert json.loads(found["settings"][0])["k"] == 2


def test_a_sample_without_scores_has_nulls_and_a_failure(tmp_path: Path, tiny_model: str) -> None:
    # Random weights give legal scores too little.
    found = record(tmp_path, tiny_model)
    assert dict(found.schema) == TYPES
    for without in ("scores", "score_distribution", "score_levels", "readout_mass", "is_correct"):
        assert found[without].is_null().all(), without
    assert found["failure"].is_not_null().all()
    assert all(found["failure_detail"].to_list()), "and a person can read why"
