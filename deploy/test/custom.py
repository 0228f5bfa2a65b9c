"""Checks custom resources. Those of KEDA, the Prometheus operator and cert-manager are checked with typed models that
packages generate from their CRDs; a field that a model does not know is an error. LeaderWorkerSet has no such
package: only the few fields that the chart uses are checked, and its pod templates as pods."""

from pydantic import ValidationError

from cloudcoil.models.cert_manager import v1 as cert_manager
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus

MODELS = {
    "ScaledObject": keda.ScaledObject,
    "PodMonitor": prometheus.PodMonitor,
    "PrometheusRule": prometheus.PrometheusRule,
    "Certificate": cert_manager.Certificate,
}

# KEDA knows these from 2.17 on; the models are of 2.16.
NEWER = {"ScaledObject.spec.fallback.behavior"}

# The fields of a LeaderWorkerSet (leaderworkerset.x-k8s.io/v1) that the chart may use.
GROUP_FIELDS = {"size", "restartPolicy", "leaderTemplate", "workerTemplate"}


def problems(document: dict) -> list[str]:
    """The errors of a custom resource."""
    kind = document["kind"]
    if kind == "LeaderWorkerSet":
        return list(_group(document["spec"]))
    if kind not in MODELS:
        return [f"nothing here knows the kind {kind}"]
    try:
        model = MODELS[kind].model_validate(document)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    known = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    return list(_lost(document, known, kind))


def _lost(written, known, at):
    """Fields that the model dropped because it does not know them."""
    if isinstance(written, dict) and isinstance(known, dict):
        for key, value in written.items():
            if key not in known and f"{at}.{key}" in NEWER:
                continue
            if key not in known:
                yield f"{at}.{key}: unknown field"
            else:
                yield from _lost(value, known[key], f"{at}.{key}")
    elif isinstance(written, list) and isinstance(known, list):
        for index, (one, other) in enumerate(zip(written, known, strict=True)):
            yield from _lost(one, other, f"{at}[{index}]")


def _group(spec):
    if unknown := set(spec) - {"replicas", "leaderWorkerTemplate"}:
        yield f"spec: unknown fields {unknown}"
    group = spec["leaderWorkerTemplate"]
    if unknown := set(group) - GROUP_FIELDS:
        yield f"spec.leaderWorkerTemplate: unknown fields {unknown}"
    if group["size"] < 2:
        yield "spec.leaderWorkerTemplate.size: a group of one needs no LeaderWorkerSet"
    if group["restartPolicy"] not in ("RecreateGroupOnPodRestart", "None"):
        yield f"spec.leaderWorkerTemplate.restartPolicy: {group['restartPolicy']}"


