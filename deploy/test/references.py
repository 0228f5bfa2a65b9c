"""References between the objects of one release: selectors must select something, and names and ports must exist."""

import re

import chart


def problems(documents: list[dict]):
    """References without a target."""
    labels = [t["metadata"]["labels"] for d in documents for _, t in chart.pod_templates(d)]
    made = {(d["kind"], d["metadata"]["name"]) for d in documents}
    names = {name for d in documents if d["kind"] == "Certificate" for name in d["spec"]["dnsNames"]}
    yield from unguarded(documents)
    for document in documents:
        at = f"{document['kind']} {document['metadata']['name']}"
        selector = selected_by(document)
        if selector and not any(selector.items() <= one.items() for one in labels):
            yield f"{at} selects no pod"
        elif selector:
            yield from (f"{at} means port {port}, which its pods do not have" for port in ports_meant(document) - ports_of(documents, selector))
        yield from (f"{at} means {kind} {name}, which is not there" for kind, name in meant(document) if (kind, name) not in made)
        for pod, template in chart.pod_templates(document):
            yield from (f"{pod} {problem}" for problem in of_pod(document, template, names))


def unguarded(documents: list[dict]):
    """Serving pods that a node drain may evict without a PodDisruptionBudget, or with two, which the eviction API
    rejects."""
    budgets = [d["spec"]["selector"]["matchLabels"].items() for d in documents if d["kind"] == "PodDisruptionBudget"]
    served = [(name, t["metadata"]["labels"]) for d in documents if d["kind"] != "Pod" for name, t in chart.pod_templates(d)]
    for name, labels in served if budgets else []:
        if (count := sum(one <= labels.items() for one in budgets)) != 1:
            yield f"{name} has {count} PodDisruptionBudgets"


def selected_by(document: dict) -> dict | None:
    """The labels by which an object selects pods."""
    kind, spec = document["kind"], document.get("spec", {})
    if kind == "Service":
        return spec.get("selector")
    if kind == "NetworkPolicy":
        return spec["podSelector"].get("matchLabels")
    if kind in ("PodDisruptionBudget", "Deployment", "StatefulSet", "PodMonitor"):
        return spec["selector"]["matchLabels"]
    return None


def ports_meant(document: dict) -> set:
    """Ports of pods, by name or number."""
    kind, spec = document["kind"], document["spec"]
    if kind == "Service":
        return {one["targetPort"] for one in spec["ports"]}
    if kind == "PodMonitor":
        return {one["port"] for one in spec["podMetricsEndpoints"]}
    if kind == "NetworkPolicy":
        return {one["port"] for rule in spec.get("ingress", []) for one in rule.get("ports", [])}
    return set()


def ports_of(documents: list[dict], selector: dict) -> set:
    templates = [t for d in documents for _, t in chart.pod_templates(d) if selector.items() <= t["metadata"]["labels"].items()]
    ports = [one for t in templates for container, _ in chart.containers(t) for one in container.get("ports", [])]
    return {value for one in ports for value in (one["name"], one["containerPort"])}


def meant(document: dict):
    """(kind, name) of objects that an object refers to."""
    kind, spec = document["kind"], document.get("spec", {})
    if kind in ("ScaledObject", "HorizontalPodAutoscaler"):
        yield spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]
    if kind == "StatefulSet":
        yield "Service", spec["serviceName"]
    if kind == "RoleBinding":
        yield "Role", document["roleRef"]["name"]
        yield from (("ServiceAccount", one["name"]) for one in document["subjects"] if one["name"] != "default")
    for _, template in chart.pod_templates(document):
        account = template["spec"]["serviceAccountName"]
        if account != "default":
            yield "ServiceAccount", account


def of_pod(document: dict, template: dict, names: set[str]):
    """What a pod's containers refer to: volumes, and `names` in certificates if there are any."""
    volumes = {volume["name"] for volume in template["spec"].get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in document.get("spec", {}).get("volumeClaimTemplates", [])}
    for container, _ in chart.containers(template):
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        if lost := mounted - volumes:
            yield f"mounts {lost}, which is no volume"
        if strangers := called_by_name(container) - names if names else set():
            yield f"calls {sorted(strangers)}, which no certificate names"
    yield from of_vllm({container["name"]: container.get("args", []) for container, _ in chart.containers(template)})


def of_vllm(args: dict[str, list[str]]):
    """References between a worker and the vLLM beside it, in their arguments."""
    if not {"worker", "vllm"} <= args.keys():
        return
    asked = option(args["worker"], "upstream-model") or option(args["worker"], "model")
    if asked != option(args["vllm"], "served-model-name"):
        yield f"asks vLLM for {asked}, which it does not serve"
    if (option(args["worker"], "role") == "meta") != (option(args["vllm"], "runner") == "pooling"):
        yield "ranks by a vLLM that writes, or draws from one that does not"


def option(args: list[str], name: str) -> str | None:
    return next((one.split("=", 1)[1] for one in args if one.startswith(f"--{name}=")), None)


def called_by_name(container: dict) -> set[str]:
    """Names inside the cluster that must be in a certificate for this container's TLS calls."""
    text = " ".join(container.get("args", []))
    return {*re.findall(r"https://([\w.-]+\.svc)\b", text), *re.findall(r"--tls-server-name=(\S+)", text)}
