"""Checks that the binary knows every one of our command lines, in the chart's manifests and in compose.yaml, and
every variable of units and manifests. usage: commands.py JURY"""

import re
import subprocess
import sys

import yaml

import chart

DEPLOY = chart.ROOT / "deploy"


def of_chart():
    """(where, arguments, environment) of our containers."""
    for values in chart.values_files():
        for document in chart.render(values):
            for name, template in chart.pod_templates(document):
                for container, _ in chart.containers(template):
                    if "command" not in container:
                        # Others are the pod's own, used in its arguments, or for a proxy.
                        env = {one["name"] for one in container.get("env", []) if one["name"].startswith("JURY_")}
                        yield f"{values.name}: {name}", container["args"], env


def of_compose():
    compose = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    for name, service in compose["services"].items():
        if "JURY_IMAGE" in service["image"]:
            arguments = chart.interpolated(service["command"])
            yield f"compose.yaml: {name}", arguments, set(service.get("environment", {})) - {"JURY_ENDPOINT"}
            if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
                raise SystemExit(f"compose.yaml: {name} may write its root file system or keeps capabilities")
        if beyond := [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]:
            raise SystemExit(f"compose.yaml: {name} is open to other machines at {beyond}")


def of_units():
    for part, file in (("coordinator", "coordinator.env"), ("worker", "worker-1.env")):
        lines = (DEPLOY / "systemd" / file).read_text().splitlines()
        set_to = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        if beyond := [one for one, value in set_to.items() if one.endswith("LISTEN") and not value.startswith("127.0.0.1:")]:
            raise SystemExit(f"systemd: {file} is open to other machines at {beyond}, without TLS or tenants")
        yield f"systemd: {file}", [part], set(set_to)
    # Variable names, whether commented out or not.
    tls = set(re.findall(r"\b(JURY_[A-Z_]+)=", (DEPLOY / "systemd/tls.conf").read_text()))
    yield "systemd: tls.conf", ["coordinator"], tls
    yield "systemd: tls.conf", ["worker"], tls - {"JURY_TENANTS"}
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        if before := re.findall(r"^ExecStartPre=.*", unit.read_text(), re.MULTILINE):
            raise SystemExit(f"systemd: {unit.name} does not start where {before} fails, as with a path or another server's model")
    unit = (DEPLOY / "systemd/jury-worker@.service").read_text()
    yield "systemd: jury-worker@.service", ["worker"], set(re.findall(r"\b(JURY_[A-Z_]+)=", unit))


def main() -> int:
    jury = sys.argv[1]
    help_of: dict[str, str] = {}
    seen, failures = set(), []
    for where, arguments, env in [*of_chart(), *of_compose(), *of_units()]:
        key = (tuple(arguments), frozenset(env))
        if key in seen:
            continue
        seen.add(key)
        # Options are parsed before help is shown, so an unknown one is rejected.
        done = subprocess.run([jury, *arguments, "--help"], capture_output=True, text=True, check=False)
        if done.returncode:
            failures.append(f"{where}: {done.stderr.strip().splitlines()[0]}")
        if arguments[0] not in help_of:
            help_of[arguments[0]] = subprocess.run([jury, arguments[0], "--help"], capture_output=True, text=True, check=True).stdout
        failures += [f"{where}: no option of {arguments[0]} is read from {one}" for one in env if one not in help_of[arguments[0]]]
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"commands: {len(seen)} command lines, {len(failures)} problems")
    return 1 if failures or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
