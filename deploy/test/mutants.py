"""Corrupts rendered objects, one field at a time. Each change must be detected, or `manifests` and `references` check
less than they claim."""

import copy
import functools
import re
import sys

import chart
import manifests
import references


def spoil(document: dict, path: str, value) -> dict:
    """The object with `value` at `path` (a.b.0.c, with a dot in a name escaped by a backslash); None removes the
    field."""
    spoilt = copy.deepcopy(document)
    steps = [step.replace("\\.", ".") for step in re.split(r"(?<!\\)\.", path)]
    *way, last = [int(step) if step.isdigit() else step for step in steps]
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
    ("minimal", "Deployment", f"{MAIN}.livenessProbe.httpGet.port", "http"),
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
    ("minimal", "Deployment", f"{MAIN}.startupProbe.failureThreshold", 3),
    ("minimal", "Deployment", f"{MAIN}.readinessProbe.grpc.port", 7490),
    ("minimal", "Deployment", f"{MAIN}.lifecycle", None),
    ("minimal", "Deployment", f"{MAIN}.image", "jury"),
    ("minimal", "Deployment", f"{POD}.hostNetwork", True),
    ("minimal", "Deployment", f"{POD}.volumes.0", {"name": "tmp", "hostPath": {"path": "/tmp"}}),
    ("minimal", "NetworkPolicy", "spec.ingress.0.from", None),
    ("ha", "StatefulSet", f"{POD}.automountServiceAccountToken", True),
    ("minimal", "Deployment", f"{POD}.serviceAccountName", "jury"),
    ("minimal", "Deployment", f"{MAIN}.volumeMounts.0.name", "temporary"),
    ("minimal", "Service", "spec.selector.app\\.kubernetes\\.io/component", "workers"),
    ("minimal", "Service", "spec.ports.0.targetPort", "gprc"),
    ("minimal", "PodDisruptionBudget", "spec.selector.matchLabels.app\\.kubernetes\\.io/component", "judge"),
    ("minimal", "NetworkPolicy", "spec.ingress.0.ports.0.port", "http"),
    ("minimal", "RoleBinding", "roleRef.name", "jury"),
    ("minimal", "RoleBinding", "subjects.0.name", "jury-worker-2"),
    ("ha", "StatefulSet", "spec.serviceName", "etcd"),
    ("ha", "PodMonitor", "spec.podMetricsEndpoints.0.port", "http-metrics"),
    ("scale-to-zero", "ScaledObject", "spec.scaleTargetRef.name", "judge"),
    ("scale-to-zero", "HorizontalPodAutoscaler", "spec.scaleTargetRef.kind", "StatefulSet"),
    ("own-etcd-tls", "Certificate", "spec.dnsNames.6", "jury-etcd-one.jury-etcd.ml.svc"),
    ("own-etcd-tls", "Certificate", "spec.dnsNames.3", "jury-workers"),
    ("vllm", "Deployment:judge", f"{POD}.initContainers.0.args.1", "--served-model-name=other"),
    ("vllm", "Deployment:judge", f"{POD}.initContainers.0.args.2", "--runner=pooling"),
    ("minimal", "Deployment:judge", f"{MAIN}.livenessProbe", {"grpc": {"port": 7481}}),
    ("tls", "Deployment:judge", f"{MAIN}.livenessProbe.httpGet.path", "/healthz"),
    ("minimal", "Deployment:judge", "spec.progressDeadlineSeconds", None),
    ("vllm", "Deployment:judge", "spec.progressDeadlineSeconds", 2800),
    ("minimal", "NetworkPolicy", "spec.egress.2.ports", None),
    ("vllm", "PodDisruptionBudget:giant", "spec.selector.matchLabels.app\\.kubernetes\\.io/component", "worker"),
    ("vllm", "PodDisruptionBudget:giant", "spec.selector.matchLabels.jury\\.dev/pool", None),
    ("odd", "Deployment:32", "spec.template.metadata.labels.jury\\.dev/pool", 32),
]


def problems(documents: list[dict], at: int) -> list[str]:
    """Errors of single objects, and of references between them."""
    return [*manifests.problems(documents[at]), *references.problems(documents)]


@functools.cache
def rendered(values: str) -> tuple[dict, ...]:
    return tuple(chart.render(chart.CHART / f"ci/{values}.yaml"))


def main() -> int:
    failures = []
    for values, kind, path, value in MUTANTS:
        documents = list(rendered(values))
        kind, _, pool = kind.partition(":")
        at = next(index for index, one in enumerate(documents) if one["kind"] == kind and one["metadata"]["name"].endswith(pool))
        if problems(documents, at):
            failures.append(f"{values}: {kind} has problems before it is spoilt")
        documents[at] = spoil(documents[at], path, value)
        if not problems(documents, at):
            failures.append(f"{values}: nobody notices {path} = {value} in {kind}")
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"mutants: {len(MUTANTS) - len(failures)} of {len(MUTANTS)} noticed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
