"""What every pod of the chart must keep to, whoever wrote its values."""

from chart import containers, pod_templates


def problems(document: dict) -> list[str]:
    """Policies that the object's pods break."""
    return [
        f"{name}: {problem}"
        for name, template in pod_templates(document)
        for problem in _pod(template, hooked="helm.sh/hook" in document["metadata"].get("annotations", {}))
    ]


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
    for volume in spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"mounts {volume['hostPath']} of its node"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} has no limit"
    for container, role in containers(template):
        for problem in _container(container):
            yield f"container {container['name']} {problem}"
        # Parts of a server on further nodes serve nobody by themselves, and a hook ends by itself.
        serves = role != "first" and not hooked and "ports" in container
        if serves:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe not in container:
                    yield f"container {container['name']} has no {probe}"
            yield from _liveness(container)
    yield from _grace(spec)


def _container(container):
    security = container.get("securityContext", {})
    if not security.get("readOnlyRootFilesystem"):
        yield "may write its root file system"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps capabilities"
    for bound in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            if resource not in container.get("resources", {}).get(bound, {}):
                yield f"has no {bound}.{resource}"


def _liveness(container):
    """A process is alive without its directory."""
    probe = container.get("livenessProbe", {})
    if not {"grpc", "httpGet"} & probe.keys():
        yield f"container {container['name']}: liveness is asked neither by gRPC nor by HTTP"
    port = probe.get("grpc", {}).get("port") or probe.get("httpGet", {}).get("port")
    own = {value for one in container.get("ports", []) for value in (one["name"], one["containerPort"])}
    if port not in own:
        yield f"container {container['name']}: liveness asks port {port}, which is not its own"


def _grace(spec):
    """The pod's grace must hold preStop and what the process asks for itself."""
    for container in spec["containers"]:
        asked = [a for a in container.get("args", []) if a.startswith("--grace=")]
        if not asked:
            continue
        sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        grace = int(asked[0].removeprefix("--grace=").removesuffix("s"))
        if spec["terminationGracePeriodSeconds"] < sleep + grace + 5:
            yield f"is killed after {spec['terminationGracePeriodSeconds']} s, before {sleep} + {grace} s are over"
