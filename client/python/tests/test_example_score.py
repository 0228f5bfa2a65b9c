"""examples/score.py, as a user without jury-client runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import jury

from .conftest import REPOSITORY


def test_score_py_prints_a_reward_for_every_response(judge: jury.LocalClient, tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="scripts/python-env installs it")
    protos = [str(path) for path in sorted((REPOSITORY / "proto/jury/v1").glob("*.proto"))]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(REPOSITORY / "proto")]
    subprocess.check_call([*protoc, f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", *protos])
    # With -S and these folders alone, installed packages are there, but none that is installed as editable, as ours is.
    path = os.pathsep.join([str(tmp_path), sysconfig.get_path("purelib")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-S", str(REPOSITORY / "examples/score.py"), judge.address]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    status, *rewards = done.stdout.splitlines()
    assert status == "VERDICT_STATUS_OK"
    item = {"id": "capital", "query": "What is the capital of France?", "responses": ["It is Paris.", "It is Lyon."]}
    expected = judge.score(item, k=4, max_critique_tokens=512).rewards
    assert rewards == [f"responses[{index}]: {reward:.2f}" for index, reward in enumerate(expected)]
