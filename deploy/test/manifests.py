"""Lints and renders the chart with every file of ci/, and checks each object: strictly against the API's schemas;
custom resources with `custom`; pods with `policies`; references between objects with `references`."""

import re
import sys

import kubernetes_validate
import yaml

import chart
import custom
import policies
import references

VERSIONS = ("1.30", "1.34")
BUILT_IN = ("v1", "apps/v1", "policy/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1", "autoscaling/v2", "scheduling.k8s.io/v1")


def main() -> int:
    failures, objects = [], 0
    for values in chart.values_files():
        chart.helm("lint", "--strict", str(chart.CHART), "--values", str(values))
        documents = chart.render(values)
        objects += len(documents)
        for document in documents:
            at = f"{values.name}: {document['kind']} {document['metadata']['name']}"
            failures += [f"{at}: {problem}" for problem in problems(document)]
        failures += [f"{values.name}: {problem}" for problem in references.problems(documents)]
    failures += examples() + servers()
    for failure in failures:
        print(failure, file=sys.stderr)
    n_files = len(chart.values_files())
    print(f"manifests: {objects} objects of {n_files} values files, {len(failures)} problems")
    return 1 if failures else 0


def examples() -> list[str]:
    """The first two values files shown in docs/operations.md are among the rendered ones."""
    shown = re.findall(r"^```yaml\n(.*?)^```$", (chart.ROOT / "docs/operations.md").read_text(), re.DOTALL | re.MULTILINE)
    pairs = zip(shown, ("autoscaling.yaml", "minimal.yaml"), strict=False)
    return [f"docs/operations.md shows another {name}" for text, name in pairs if text != (chart.CHART / "ci" / name).read_text()]


def servers() -> list[str]:
    """The version of vLLM is the one that `make upstream-tests` runs."""
    tested = re.search(r"^version=(.*)$", (chart.ROOT / "scripts/vllm").read_text(), re.MULTILINE)[1]
    image = yaml.safe_load((chart.CHART / "values.yaml").read_text())["poolDefaults"]["vllm"]["image"]
    return [] if image.endswith(f":v{tested}") else [f"poolDefaults.vllm.image is {image}, and {tested} was tested"]


def problems(document: dict) -> list[str]:
    found = policies.problems(document)
    if document["apiVersion"] in BUILT_IN:
        found += [p for version in VERSIONS for p in against_schema(document, version)]
    else:
        found += custom.problems(document)
        for name, template in chart.pod_templates(document):
            pod = {"apiVersion": "v1", "kind": "Pod", **template}
            pod["metadata"] = {**pod.get("metadata", {}), "name": "pod"}
            found += [f"{name}: {p}" for version in VERSIONS for p in against_schema(pod, version)]
    return found


def against_schema(document: dict, version: str) -> list[str]:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"in Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"]
    return []


if __name__ == "__main__":
    sys.exit(main())
