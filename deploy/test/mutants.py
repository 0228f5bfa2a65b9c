"""Spoils rendered objects, one field at a time: each must be noticed, or `manifests` checks less than it says."""

import copy
import sys

import chart
import manifests


def spoil(document: dict, path: str, value) -> dict:
    """The object with `value` at `path` (a.b.0.c); None removes what is there."""
    spoilt = copy.deepcopy(document)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    at = spoilt
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return spoilt


POD = "spec.template.spec"
MAIN = f"{POD}.containers.0"
MUTANTS = [
    ("minimal", "Deployment", "spec.replica", 3),
    ("minimal", "Deployment", f"{MAIN}.imagePullPolicy", 7),
    ("minimal", "Deployment", f"{MAIN}.securityContext.readOnlyRootFilesystem", False),
    ("minimal", "Deployment", f"{MAIN}.resources.limits.memory", None),
    ("minimal", "Deployment", f"{MAIN}.readinessProbe", None),
    ("minimal", "Deployment", f"{MAIN}.livenessProbe.grpc.port", 2379),
    ("minimal", "Deployment", f"{POD}.securityContext.runAsNonRoot", False),
    ("minimal", "Deployment", f"{POD}.terminationGracePeriodSeconds", 30),
    ("minimal", "Deployment", f"{POD}.volumes.0.emptyDir", {}),
    ("minimal", "NetworkPolicy", "spec.ingress.0.form", []),
    ("scale-to-zero", "ScaledObject", "spec.maxReplicas", 3),
    ("scale-to-zero", "ScaledObject", "spec.triggers.0.metadata.threshold", 200),
    ("scale-to-zero", "PodMonitor", "spec.podMetricsEndpoint", []),
    ("scale-to-zero", "PrometheusRule", "spec.groups.0.rules.0.expression", "up"),
    ("tls", "Certificate", "spec.issuer", {}),
    ("vllm", "LeaderWorkerSet", "spec.leaderWorkerTemplate.sizes", 2),
    ("vllm", "LeaderWorkerSet", "spec.leaderWorkerTemplate.leaderTemplate.spec.containers.0.arguments", []),
    ("ha", "StatefulSet", f"{MAIN}.resources.limits.cpu", None),
]


def main() -> int:
    failures = []
    for values, kind, path, value in MUTANTS:
        documents = chart.render(chart.CHART / f"ci/{values}.yaml")
        document = next(one for one in documents if one["kind"] == kind)
        if manifests.problems(document):
            failures.append(f"{values}: {kind} has problems before it is spoilt")
        if not manifests.problems(spoil(document, path, value)):
            failures.append(f"{values}: nobody notices {path} = {value} in {kind}")
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"mutants: {len(MUTANTS) - len(failures)} of {len(MUTANTS)} noticed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
