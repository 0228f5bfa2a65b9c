"""The resources server of the installed NeMo-Gym, asked over HTTP as its agents ask."""

from __future__ import annotations

from typing import Any

import pytest

import jury

pytest.importorskip("nemo_gym")

TOO_LONG = "r" * 9000


def rollout(said: str, **row: Any) -> dict[str, Any]:
    """A body as NeMo-Gym's simple agent sends it."""
    text = {"type": "output_text", "text": said, "annotations": []}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "ignored"}]}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    response = {
        "id": "resp_1",
        "created_at": 0,
        "model": "policy",
        "object": "response",
        "output": [thought, message],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
    }
    asked = [{"role": "user", "content": [{"type": "input_text", "text": "two and two?"}]}]
    return {"responses_create_params": {"input": asked, "instructions": "Be brief."}, "response": response, **row}


def verified(judge: jury.Client, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    from fastapi.testclient import TestClient
    from nemo_gym.server_utils import ServerClient
    from omegaconf import OmegaConf

    from jury.trainers.nemo_gym import JuryServer, JuryServerConfig

    config = JuryServerConfig(
        host="127.0.0.1", port=1, entrypoint="app.py", name="jury", domain="other", address=judge.address,
        settings={"k": 1, "max_critique_tokens": 1, "min_readout_mass": 0}, patience=0,
    )
    client = ServerClient.model_construct(head_server_config=None, global_config_dict=OmegaConf.create({}))
    server = JuryServer.model_construct(config=config, server_client=client, _judge=None)
    app = server.setup_webserver()
    with TestClient(app) as http:
        answers = [http.post("/verify", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [200] * len(bodies), answers[0].text
    return [answer.json() for answer in answers]


def test_a_rollout_comes_back_with_its_reward_and_all_that_it_had(tiny: jury.Client) -> None:
    (told,) = verified(tiny, rollout("four", expected_answer=4, extra={"a": 1}))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two and two?"}]
    item = {"query": turns, "responses": ["four"], "reference": "4"}
    assert told["reward"] == tiny.score(item).rewards[0]
    assert told["verdict"]["status"] == "OK" and told["extra"] == {"a": 1}
    assert "_ng_failure_class" not in told


def test_what_is_unscored_is_a_failed_judge_to_gym_and_no_zero(tiny: jury.Client) -> None:
    from nemo_gym.rollout_collection import NG_FAILURE_CLASS_KEY

    (told,) = verified(tiny, rollout(TOO_LONG))
    assert told[NG_FAILURE_CLASS_KEY] == "judge_failed"
    assert told["_ng_failure_judge_error"].startswith("too_long")
    assert told["verdict"]["rewards"] == [None]
