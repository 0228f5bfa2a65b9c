"""Runs compose.yaml as processes: the command lines and environment of etcd, the coordinator and both workers, each
in a network namespace with its service's name. Both workers must register, an item must be judged, and Prometheus
must find its targets. Images, volumes and limits are not simulated.
Root is needed for network namespaces. usage: compose.py JURY ETCD MODEL_CACHE"""

import json
import subprocess
import sys

import yaml

import chart
from pods import Network
from processes import Processes

COMPOSE = chart.ROOT / "deploy/compose"
SERVICES = ("etcd", "coordinator", "worker-1", "worker-2")


def main() -> int:
    jury, etcd, models = sys.argv[1:]
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    with Processes() as processes, Network() as network:
        caller, _ = network.add("caller")
        for name in SERVICES:
            namespace, address = network.add(name)
            network.name(name, address)
            arguments = [one.replace("/data", str(processes.folder / "data")) for one in chart.interpolated(services[name]["command"])]
            program = [etcd, *arguments[1:]] if name == "etcd" else [jury, *arguments]
            env = {"JURY_MODEL_CACHE": models, **services[name].get("environment", {})}
            clean = ["env", "-i", *[f"{variable}={value}" for variable, value in env.items()]]
            processes.start(name, ["ip", "netns", "exec", namespace, *clean, *program])

        def call(*command: str, stdin: str = "") -> str:
            return subprocess.run(["ip", "netns", "exec", caller, *command], input=stdin, capture_output=True, text=True, check=True, timeout=300).stdout

        endpoint = "--endpoint=http://coordinator:7480"

        def registered() -> list[str]:
            return sorted(worker["worker_id"] for worker in json.loads(call(jury, "status", endpoint, "--json"))["workers"])

        processes.wait_for(lambda: registered() == ["worker-1", "worker-2"], "both workers to register")
        item = json.dumps({"query": "2 + 2?", "responses": ["4", "5"]})
        verdict = json.loads(call(jury, "score", "-", endpoint, "--k=2", "--max-critique-tokens=8", "--budget=280s", "--json", stdin=item))
        targets = [
            target
            for job in yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["scrape_configs"]
            for static in job["static_configs"]
            for target in static["targets"]
        ]
        silent = [target for target in targets if "# TYPE" not in call("curl", "--silent", "--fail", f"http://{target}/metrics")]
    print(f"compose: two workers registered, a verdict is {verdict['status']}, {len(targets)} targets of Prometheus, {len(silent)} of them silent")
    return 1 if silent or verdict["status"] != "OK" else 0


if __name__ == "__main__":
    sys.exit(main())
