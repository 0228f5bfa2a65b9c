"""Renders the chart, and reads the result."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/jury"
NAMESPACE = "ml"
RELEASE = "jury"


class Refused(Exception):
    """helm rendered nothing; the text says why."""


def helm(*arguments: str) -> str:
    """The output of helm."""
    done = subprocess.run(
        [os.environ.get("JURY_HELM", "helm"), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def values_files() -> list[pathlib.Path]:
    """The values that every check renders."""
    return sorted((CHART / "ci").glob("*.yaml"))


def render(values: pathlib.Path | dict, *more: pathlib.Path, only: str | None = None) -> list[dict]:
    """The objects, in helm's output order; later files take precedence over earlier ones, `only` selects one
    template."""
    if isinstance(values, dict):
        with written(values) as file:
            return render(file, only=only)
    show = ["--show-only", only] if only else []
    text = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *[f"--values={file}" for file in (values, *more)], *show)
    return [document for document in yaml.safe_load_all(text) if document]


def notes(values: dict) -> str:
    """The notes that helm prints after an installation; no cluster is used."""
    with written(values) as file:
        text = helm("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", f"--values={file}")
    return text.split("\nNOTES:\n", 1)[1]


@contextlib.contextmanager
def written(values: dict):
    """A file with these values."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "values.yaml"
        # As JSON, which is YAML: PyYAML would write the text 1e3 in a form that helm reads as a number.
        file.write_text(json.dumps(values))
        yield file


def interpolated(texts: list[str]) -> list[str]:
    """The strings of compose.yaml, with the defaults of their variables."""
    return [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", one) for one in texts]


def pod_templates(document: dict):
    """(name, pod template) of all pods that an object creates."""
    kind, name = document["kind"], document["metadata"]["name"]
    if kind == "Pod":
        yield name, document
    elif kind in ("Deployment", "StatefulSet", "Job", "DaemonSet"):
        yield name, document["spec"]["template"]
    elif kind == "LeaderWorkerSet":
        group = document["spec"]["leaderWorkerTemplate"]
        yield f"{name} (leader)", group["leaderTemplate"]
        yield f"{name} (worker)", group["workerTemplate"]


def containers(template: dict):
    """(container, "first", "sidecar" or "main") of a pod template."""
    for container in template["spec"].get("initContainers", []):
        yield container, "sidecar" if container.get("restartPolicy") == "Always" else "first"
    for container in template["spec"]["containers"]:
        yield container, "main"
