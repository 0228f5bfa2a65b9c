"""The resources server of the installed NeMo-Gym, asked over HTTP as its agents ask."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jury

from ..conftest import REPOSITORY

pytest.importorskip("nemo_gym")

EXAMPLES = REPOSITORY / "examples/trainers/nemo_gym"
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


def served(server: Any, config: Any, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """What the web application of a resources server answers."""
    from fastapi.testclient import TestClient
    from nemo_gym.server_utils import ServerClient
    from omegaconf import OmegaConf

    client = ServerClient.model_construct(head_server_config=None, global_config_dict=OmegaConf.create({}))
    app = server(config=config, server_client=client).setup_webserver()
    with TestClient(app) as http:
        answers = [http.post("/verify", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [200] * len(bodies), answers[0].text
    return [answer.json() for answer in answers]


def verified(judge: jury.Client, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    from jury.trainers.nemo_gym import JuryServer, JuryServerConfig

    config = JuryServerConfig(
        host="127.0.0.1", port=1, entrypoint="app.py", name="jury", domain="other", address=judge.address,
        settings={"k": 1, "max_critique_tokens": 1, "min_readout_mass": 0}, patience=0,
    )
    return served(JuryServer, config, *bodies)


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


def test_a_rollout_that_holds_no_text_is_a_failed_judge_and_calls_of_tools_are_judged(tiny: jury.Client) -> None:
    from nemo_gym.rollout_collection import NG_FAILURE_CLASS_KEY

    asked = {"role": "user", "content": "weather?"}
    call = {"type": "function_call", "name": "weather", "arguments": "{}", "call_id": "1"}
    came = {"type": "function_call_output", "call_id": "1", "output": "4 degrees"}
    image = {"type": "input_image", "image_url": "data:", "detail": "auto"}
    bodies = [rollout("A coat."), rollout("A coat.")]
    bodies[0]["responses_create_params"] = {"input": [asked, call, came]}
    bodies[1]["responses_create_params"] = {"input": [{"role": "user", "content": [image]}]}
    told, refused = verified(tiny, *bodies)
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "weather", "arguments": "{}"}}]}
    turns = [asked, called, {"role": "tool", "content": "4 degrees"}]
    assert told["reward"] == tiny.score({"query": turns, "responses": ["A coat."]}).rewards[0]
    assert refused[NG_FAILURE_CLASS_KEY] == "judge_failed"
    assert "item.query[0].content[0]: is an image" in refused["_ng_failure_judge_error"]


def test_a_server_with_a_setting_that_is_refused_does_not_start(tiny: jury.Client) -> None:
    from jury.trainers.nemo_gym import JuryServer, JuryServerConfig

    config = JuryServerConfig(
        host="127.0.0.1", port=1, entrypoint="app.py", name="jury", domain="other", address=tiny.address, settings={"k": 0}
    )
    with pytest.raises(ValueError, match="settings.k"):
        served(JuryServer, config)


def example(name: str) -> Any:
    """An example's module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, EXAMPLES / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example_config(instance: str) -> dict[str, Any]:
    """What Gym reads of the example's configuration, for one of its servers."""
    from nemo_gym.config_types import maybe_get_server_instance_config
    from omegaconf import OmegaConf

    whole: Any = OmegaConf.load(EXAMPLES / "configs/jury.yaml")
    read, problem = maybe_get_server_instance_config(name=instance, server_type_config_dict=whole[instance])
    assert read is not None, problem
    (options,) = OmegaConf.to_container(whole[instance].resources_servers).values()
    assert (EXAMPLES / options["entrypoint"]).exists()
    return {**options, "host": "127.0.0.1", "port": 1, "name": instance}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[jury.LocalClient, str]]:
    from .cluster import http_judge

    settings: dict[str, Any] = {"k": 4, "min_readout_mass": 0}
    with http_judge(tmp_path_factory.mktemp("gym"), 8192, **settings) as judge:
        yield judge


def test_the_example_over_grpc_judges(door: tuple[jury.LocalClient, str]) -> None:
    judge, _ = door
    server = example("app.py").JuryServer
    options = example_config("jury")
    options["address"] = judge.address
    options["settings"]["min_readout_mass"] = 0
    config = server.model_fields["config"].annotation(**options)
    (told,) = served(server, config, rollout("four"))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two and two?"}]
    assert told["reward"] == judge.score({"query": turns, "responses": ["four"]}).rewards[0]


def test_the_example_over_http_judges_and_tells_gym_of_a_failed_judge(door: tuple[jury.LocalClient, str]) -> None:
    from nemo_gym.rollout_collection import NG_FAILURE_CLASS_KEY

    judge, url = door
    server = example("http_app.py").JuryServer
    options = example_config("jury_over_http")
    options["url"] = options["url"].replace("http://127.0.0.1:7490", url) + "&min_readout_mass=0"
    config = server.model_fields["config"].annotation(**options)
    told, unscored = served(server, config, rollout("four", extra={"a": 1}), rollout(TOO_LONG))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two and two?"}]
    assert told["reward"] == judge.score({"query": turns, "responses": ["four"]}).rewards[0]
    assert told["extra"] == {"a": 1} and NG_FAILURE_CLASS_KEY not in told
    assert unscored[NG_FAILURE_CLASS_KEY] == "judge_failed" and unscored["verdict"]["rewards"] == [None]
