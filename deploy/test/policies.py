"""Rules that every pod of the chart must obey, whatever the values; and network access to the pods."""

import re

from chart import containers, pod_templates

# A process that starts on a busy node must not be killed before this time.
SECONDS_TO_START = 60


def problems(document: dict) -> list[str]:
    """Policies that the object or its pods violate."""
    return [*_network(document), *_rollout(document)] + [
        f"{name}: {problem}"
        for name, template in pod_templates(document)
        for problem in _pod(template, hooked="helm.sh/hook" in document["metadata"].get("annotations", {}))
    ]


def _network(document):
    """No rule allows traffic from everywhere, or to any port of everywhere."""
    if document["kind"] == "NetworkPolicy":
        for index, rule in enumerate(document["spec"].get("ingress", [])):
            if not rule.get("from"):
                yield f"ingress rule {index} lets in everybody"
        for index, rule in enumerate(document["spec"].get("egress", [])):
            if not rule.get("to") and not rule.get("ports"):
                yield f"egress rule {index} lets out to everything"


def _rollout(document):
    """A rollout is not reported as failed while a pod uses the time that it has for leaving and starting."""
    if document["kind"] == "Deployment":
        spec = document["spec"]
        pod = spec["template"]["spec"]
        probes = [container["startupProbe"] for container, _ in containers(spec["template"]) if "startupProbe" in container]
        starts = sum(probe["periodSeconds"] * probe["failureThreshold"] for probe in probes)
        leaves = pod["terminationGracePeriodSeconds"] if spec["strategy"]["rollingUpdate"]["maxSurge"] == 0 else 0
        if (deadline := spec.get("progressDeadlineSeconds", 600)) < starts + leaves:
            yield f"a rollout has failed after {deadline} s, and a pod may take {leaves} s to leave and {starts} s to start"


def _pod(template, hooked):
    spec = template["spec"]
    security = spec.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
        yield "shares a namespace with its node"
    if "automountServiceAccountToken" not in spec:
        yield "does not say whether it has a token of the API server"
    elif spec["automountServiceAccountToken"] and template["metadata"]["labels"]["app.kubernetes.io/component"] != "coordinator":
        yield "has a token of the API server, of which it asks nothing"
    for volume in spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"mounts {volume['hostPath']} of its node"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} has no limit"
    for container, role in containers(template):
        for problem in _container(container):
            yield f"container {container['name']} {problem}"
        # Parts of a server on further nodes do not serve by themselves, and a hook ends by itself.
        serves = role != "first" and not hooked and "ports" in container
        if serves:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe not in container:
                    yield f"container {container['name']} has no {probe}"
            yield from _probes(container)
    yield from _grace(spec)


def _container(container):
    security = container.get("securityContext", {})
    if not security.get("readOnlyRootFilesystem"):
        yield "may write its root file system"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps capabilities"
    if not re.search(r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", container["image"]) or container["image"].endswith(":latest"):
        yield f"has the image {container['image']}, which may be another tomorrow"
    for bound in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            if resource not in container.get("resources", {}).get(bound, {}):
                yield f"has no {bound}.{resource}"


def _probes(container):
    """The probes ask the process itself: it is alive, and ready, without its directory."""
    own = {value for one in container.get("ports", []) for value in (one["name"], one["containerPort"])}
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container.get(name, {})
        if not {"grpc", "httpGet"} & probe.keys():
            yield f"container {container['name']}: its {name} asks neither by gRPC nor by HTTP"
        port = probe.get("grpc", {}).get("port") or probe.get("httpGet", {}).get("port")
        if port not in own:
            yield f"container {container['name']}: its {name} asks port {port}, which is not its own"
    # vLLM's /health reports whether its engine is broken; that of our servers reports whether they take work.
    alive = container.get("livenessProbe", {})
    if "grpc" in alive or alive.get("httpGet", {}).get("path") == "/healthz":
        yield f"container {container['name']}: its livenessProbe asks whether it takes work, and kills one that is to wait"
    start = container.get("startupProbe", {})
    if start.get("periodSeconds", 10) * start.get("failureThreshold", 3) < SECONDS_TO_START:
        yield f"container {container['name']} is killed before it has had {SECONDS_TO_START} s to start"


def _grace(spec):
    """The pod's grace period must cover preStop and the process's own grace."""
    for container in spec["containers"]:
        asked = [a for a in container.get("args", []) if a.startswith("--grace=")]
        if not asked:
            continue
        sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds")
        if sleep is None:
            yield "ends at once when it is told to leave, while others still send it work"
            continue
        grace = int(asked[0].removeprefix("--grace=").removesuffix("s"))
        if spec["terminationGracePeriodSeconds"] < sleep + grace + 5:
            yield f"is killed after {spec['terminationGracePeriodSeconds']} s, before {sleep} + {grace} s are over"
