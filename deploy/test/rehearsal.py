"""The dress rehearsal: runs the chart's pods as processes with their own addresses. There are three members of etcd,
two coordinators behind a service that alternates between them, and four workers. While two callers send requests
without a pause, one of each kind of pod is killed, then all of them are replaced in the order of a rollout. Every
request must be answered with rewards, and the same item with the same rewards.

Root is needed for network namespaces. usage: rehearsal.py JURY ETCD MODEL_FILE [secure|kubernetes]
secure: certificates at every listener, including etcd's, client certificates, and tenants with tokens.
kubernetes: no etcd; the coordinators' service account finds workers through a fake API server; a model in a claim."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import chart
import secure
from api_server import ApiServer
from pods import NETWORK, SERVICE_ACCOUNT, SERVICE_ADDRESS, Network, Pod, mounted
from processes import Processes

PLAIN = chart.ROOT / "deploy/test/rehearsal.yaml"
OVERLAYS = {kind: chart.ROOT / f"deploy/test/rehearsal-{kind}.yaml" for kind in ("secure", "kubernetes")}
# Its digest is in rehearsal-secure.yaml: a token only for this test.
TOKEN = "a-token-of-the-dress-rehearsal-alone"
ITEMS = [
    {"query": "What is the capital of France?", "responses": ["The capital of France is Paris.", "It is Lyon."]},
    {"query": "What is 2 + 2?", "responses": ["It is 4.", "It is 5."]},
]


class Cluster:
    """All pods, and which coordinators are behind the service."""

    def __init__(self, network, processes, programs, folders, kind: str, api: ApiServer | None):
        self.network, self.processes, self.programs, self.folders, self.api = network, processes, programs, folders, api
        documents = rendered(kind)
        has_tls = kind == "secure"
        self.scheme = "https" if has_tls else "http"
        tls = folders.get("tls", "")
        self.as_caller = [f"--tls-ca={tls}/ca.crt", f"--tls-cert={tls}/tls.crt", f"--tls-key={tls}/tls.key"] if has_tls else []
        self.templates = {name: template for document in documents for name, template in chart.pod_templates(document)}
        self.objects = {(d["kind"], d["metadata"]["name"]): d for d in documents}
        self.coordinators: list[Pod] = []
        self.workers: list[Pod] = []
        self.members: list[Pod] = []
        # The name by which the chart believes that its workers serve.
        self.model = next(one for one in self.templates["jury-test"]["spec"]["containers"][0]["args"] if one.startswith("--model="))
        self.caller, _ = network.add("caller")
        service = self.objects["Service", chart.RELEASE]
        self.port = service["spec"]["ports"][0]["port"]
        network.name(f"{chart.RELEASE}.{chart.NAMESPACE}.svc", SERVICE_ADDRESS)

    def pod(self, name: str, template: str) -> Pod:
        pod = self.planned(name, template)
        pod.start()
        return pod

    def planned(self, name: str, template: str) -> Pod:
        given = self.api.environment() if self.api else {}
        return Pod(name, self.templates[template], self.network, self.processes, self.programs, self.folders, given)

    def replicas(self, kind: str, name: str) -> int:
        return self.objects[kind, name]["spec"]["replicas"] if (kind, name) in self.objects else 0

    def start(self):
        etcd = "jury-etcd"
        for index in range(self.replicas("StatefulSet", etcd)):
            pod = self.planned(f"{etcd}-{index}", etcd)
            self.network.name(f"{pod.name}.{etcd}.{chart.NAMESPACE}.svc", pod.address)
            self.members.append(pod)
        for pod in self.members:
            pod.start()
        self.coordinators = [self.pod(f"coordinator-{n}", "jury-coordinator") for n in range(self.replicas("Deployment", "jury-coordinator"))]
        self.workers = [self.pod(f"worker-{n}", "jury-judge") for n in range(self.replicas("Deployment", "jury-judge"))]
        for pod in self.members + self.coordinators + self.workers:
            pod.wait_until_ready()
        self.publish()

    def publish(self):
        """The services' endpoints: coordinators and workers that are ready and are not leaving."""
        self.network.balance(self.caller, self.port, [pod.address for pod in self.coordinators])
        if self.api:
            self.api.publish([(pod.name, pod.address) for pod in self.workers])

    def call(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        command = ["ip", "netns", "exec", self.caller, self.programs["jury"], *arguments]
        env = {**os.environ, "JURY_TOKEN": TOKEN} if self.as_caller else None
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=env)

    def endpoint(self) -> str:
        return f"--endpoint={self.scheme}://{chart.RELEASE}.{chart.NAMESPACE}.svc:{self.port}"


class Callers:
    """Sends requests without a pause, and keeps every answer."""

    def __init__(self, cluster: Cluster, n: int):
        self.cluster, self.answers, self.stop = cluster, [], threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(n_item,)) for n_item in range(n)]

    def ask(self, n_item: int):
        item = ITEMS[n_item % len(ITEMS)]
        while not self.stop.is_set():
            begun = time.monotonic()
            done = self.cluster.call(
                "score", "-", self.cluster.endpoint(), *self.cluster.as_caller, self.cluster.model, "--k=2", "--max-critique-tokens=8", "--budget=280s", "--json",
                stdin=json.dumps(item),
            )
            self.answers.append((n_item, time.monotonic() - begun, done))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def wait_for_more(self, n: int):
        """Waits for `n` more answers than now."""
        target = len(self.answers) + n
        while len(self.answers) < target and not self.stop.is_set():
            time.sleep(0.2)


def say(text: str):
    print(f"  {text}", flush=True)


def kill_one_of_each(cluster: Cluster, callers: Callers):
    for pods in (cluster.members, cluster.coordinators, cluster.workers):
        if not pods:
            continue
        pod = pods.pop(0)
        pod.kill()
        # The kubelet sees it, and it leaves the endpoints.
        cluster.publish()
        say(f"killed {pod.name}")
        callers.wait_for_more(2)
        pod.start()
        pod.wait_until_ready()
        pods.append(pod)
        cluster.publish()
        say(f"{pod.name} is back")


def roll_out(cluster: Cluster, callers: Callers, pods: list[Pod], template: str):
    """A Deployment with maxSurge 1 and maxUnavailable 0: one pod is added, then one leaves, until all are new."""
    strategy = cluster.objects["Deployment", template]["spec"]["strategy"]["rollingUpdate"]
    if strategy != {"maxSurge": 1, "maxUnavailable": 0}:
        raise RuntimeError(f"this rehearses another rollout than {strategy}")
    for old in list(pods):
        new = cluster.pod(f"{old.name}-new", template)
        new.wait_until_ready()
        pods.append(new)
        pods.remove(old)
        cluster.publish()
        say(f"{new.name} came, {old.name} left in {old.leave():.1f} s")
    callers.wait_for_more(2)


def judge(callers: Callers) -> list[str]:
    problems, rewards = [], {}
    for n_item, seconds, done in callers.answers:
        if done.returncode != 0:
            problems.append(f"item {n_item}: exit code {done.returncode} after {seconds:.0f} s: {done.stderr.strip()[-300:]}")
            continue
        verdict = json.loads(done.stdout)
        if verdict["status"] != "OK":
            problems.append(f"item {n_item}: {verdict['status']}, {verdict['counts']}")
        elif rewards.setdefault(n_item, verdict["rewards"]) != verdict["rewards"]:
            problems.append(f"item {n_item}: {verdict['rewards']}, and before {rewards[n_item]}")
    return problems


def helm_test(cluster: Cluster) -> list[str]:
    template = cluster.templates["jury-test"]
    config = cluster.objects["ConfigMap", "jury-test"]
    folder = cluster.processes.folder / "item"
    folder.mkdir()
    (folder / "item.json").write_text(config["data"]["item.json"])
    container = template["spec"]["containers"][0]
    arguments = mounted(container, container["args"], {**cluster.folders, "item": str(folder)}, "test")
    done = cluster.call(*arguments)
    return [] if done.returncode == 0 else [f"helm test ends with {done.returncode}: {done.stderr.strip()[-300:]}"]


def rendered(kind: str) -> list[dict]:
    return chart.render(PLAIN, *[OVERLAYS[kind]] if kind in OVERLAYS else [])


def main() -> int:
    jury, etcd, model, *kinds = sys.argv[1:]
    kind = kinds[0] if kinds else "plain"
    with Processes() as processes, Network() as network, contextlib.ExitStack() as stack:
        os.chmod(processes.folder, 0o755)
        # The pods' user must reach program and models.
        for name, source in (("jury", jury), ("etcd", etcd)):
            shutil.copy(source, processes.folder / name)
            os.chmod(processes.folder / name, 0o755)
        for folder in ("models", "weights"):
            (processes.folder / folder).mkdir()
        shutil.copy(model, processes.folder / "models")
        os.link(processes.folder / "models" / os.path.basename(model), processes.folder / "weights/judge.gguf")
        folders = {name: str(processes.folder / name) for name in ("models", "weights")} | {"data": str(processes.folder / "data-{pod}")}
        api = None
        if kind == "kubernetes":
            secure.certificates(processes.folder / "api", f"IP:{NETWORK}.1")
            api = ApiServer(f"{NETWORK}.1", chart.NAMESPACE, f"{chart.RELEASE}-workers", processes.folder / "api")
            api.service_account(processes.folder / "serviceaccount")
            folders[SERVICE_ACCOUNT] = str(processes.folder / "serviceaccount")
        if kind == "secure":
            secure.certificates(processes.folder / "tls", secure.named_in_notes(PLAIN, OVERLAYS[kind]))
            secret = next(d for d in rendered(kind) if d["kind"] == "Secret")
            (processes.folder / "tenants").mkdir()
            for name, text in secret["stringData"].items():
                (processes.folder / "tenants" / name).write_text(text)
            folders |= {name: str(processes.folder / name) for name in ("tls", "tenants")}
        subprocess.run(["chown", "-R", "65532:65532", str(processes.folder)], check=True)
        for folder in ("models", "weights"):
            stack.callback(shutil.rmtree, processes.folder / folder)
        programs = {name: str(processes.folder / name) for name in ("jury", "etcd")}
        cluster = Cluster(network, processes, programs, folders, kind, api)
        cluster.start()
        say(f"{len(cluster.members)} members of etcd, {len(cluster.coordinators)} coordinators, {len(cluster.workers)} workers are ready")
        problems = helm_test(cluster)
        if kind == "secure":
            problems += secure.refusals(cluster)
        with Callers(cluster, len(ITEMS)) as callers:
            callers.wait_for_more(2)
            kill_one_of_each(cluster, callers)
            roll_out(cluster, callers, cluster.coordinators, "jury-coordinator")
            roll_out(cluster, callers, cluster.workers, "jury-judge")
            if kind == "secure":
                say(f"{secure.renew(cluster)} pods took a renewed certificate into use")
                callers.wait_for_more(2)
        problems += judge(callers)
        if api and api.turned_away:
            problems.append(f"the API server turned {api.turned_away} calls away")
        if problems:
            processes.keep_logs = True
            say(f"logs are in {processes.folder}")
    for problem in problems:
        print(problem, file=sys.stderr)
    slowest = max(seconds for _, seconds, _ in callers.answers)
    print(f"rehearsal, {kind}: {len(callers.answers)} requests, the slowest {slowest:.0f} s, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
