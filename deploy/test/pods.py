"""Runs pods as processes: the chart's own command lines, environment, user and probes, taken from rendered manifests;
each in a network namespace with its own address. Mount paths are replaced by folders; images, limits and read-only
roots are not simulated."""

import contextlib
import os
import re
import shutil
import signal
import ssl
import subprocess
import time
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from processes import Processes

BRIDGE = "jury-bridge"
NETWORK = "10.77.0"
SERVICE_ADDRESS = "10.96.77.1"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Network:
    """A bridge, one namespace per pod, and names through a hosts file; all removed at the end."""

    def __init__(self):
        self.names: dict[str, str] = {}
        self.namespaces: list[str] = []
        self.last = 9

    def __enter__(self):
        self.__exit__()
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        return self

    def __exit__(self, *_):
        # A namespace releases its end of a link some time later, or never, so the other end is removed first.
        for line in run("ip", "-o", "link", "show", "type", "veth").splitlines():
            link = line.split()[1].split("@")[0]
            if re.fullmatch(r"jury\d+", link):
                run("ip", "link", "del", link)
        for namespace in [one.split()[0] for one in run("ip", "netns", "list").splitlines()]:
            if namespace.startswith("jury-rehearsal-"):
                run("ip", "netns", "del", namespace)
                shutil.rmtree(f"/etc/netns/{namespace}", ignore_errors=True)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)

    def add(self, pod: str) -> tuple[str, str]:
        """(namespace, address) of a new pod."""
        self.last += 1
        namespace, address, link = f"jury-rehearsal-{pod}", f"{NETWORK}.{self.last}", f"jury{self.last}"
        run("ip", "netns", "add", namespace)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run("ip", "link", "set", link, "master", BRIDGE, "up")
        run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", namespace, "route", "add", "default", "via", f"{NETWORK}.1")
        self.namespaces.append(namespace)
        os.makedirs(f"/etc/netns/{namespace}", exist_ok=True)
        self.write_names()
        return namespace, address

    def name(self, host: str, address: str):
        self.names[host] = address
        self.write_names()

    def write_names(self):
        text = "127.0.0.1 localhost\n" + "".join(f"{address} {host}\n" for host, address in self.names.items())
        for namespace in self.namespaces:
            # In place, because the file is mounted, and never empty: processes that start concurrently look up
            # localhost.
            hosts = os.open(f"/etc/netns/{namespace}/hosts", os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(hosts, text.encode(), 0)
            os.ftruncate(hosts, len(text))
            os.close(hosts)

    def balance(self, namespace: str, port: int, addresses: list[str]):
        """Plays kube-proxy in `namespace`: connections to the service go to its endpoints in turn."""
        turns = ", ".join(f"{index} : {address}" for index, address in enumerate(addresses))
        rules = f"""
            table ip service
            delete table ip service
            table ip service {{
                chain output {{
                    type nat hook output priority -100;
                    ip daddr {SERVICE_ADDRESS} tcp dport {port} dnat to numgen inc mod {len(addresses)} map {{ {turns} }}
                }}
            }}"""
        subprocess.run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], input=rules, text=True, check=True)


def mounted(container: dict, arguments: list[str], folders: dict[str, str], pod: str) -> list[str]:
    """Arguments with mount paths replaced by folders."""
    for mount in container.get("volumeMounts", []):
        if folder := folders.get(mount["name"]):
            path = re.compile(rf"(^|=){re.escape(mount['mountPath'])}(?=/|$)")
            arguments = [path.sub(rf"\g<1>{folder.format(pod=pod)}", one) for one in arguments]
    return arguments


class Pod:
    """One pod's main container. `given` are the variables that the kubelet sets for every pod. `folders` has its
    mounts by name, and under SERVICE_ACCOUNT those files, for pods with a token."""

    def __init__(
        self, name: str, template: dict, network: Network, processes: Processes, programs: dict[str, str], folders: dict[str, str], given: dict[str, str]
    ):
        self.name = name
        self.given = given
        self.spec = template["spec"]
        self.container = self.spec["containers"][0]
        self.processes = processes
        self.programs = programs
        self.folders = folders
        self.namespace, self.address = network.add(name)
        self.process: subprocess.Popen | None = None

    def start(self):
        self.process = self.processes.start(self.name, self.command())

    def command(self) -> list[str]:
        given = {"POD_NAME": self.name, "POD_IP": self.address}
        env = dict(self.given)
        for one in self.container.get("env", []):
            env[one["name"]] = given[one["name"]] if "valueFrom" in one else one["value"]
        program, *rest = self.container.get("command", ["jury"])
        arguments = rest + self.container.get("args", [])
        arguments = [re.sub(r"\$\((\w+)\)", lambda match: env[match[1]], one) for one in arguments]
        arguments = mounted(self.container, arguments, self.folders, self.name)
        user = self.spec["securityContext"]
        as_user = ["setpriv", f"--reuid={user['runAsUser']}", f"--regid={user['runAsGroup']}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        clean = ["env", "-i", *[f"{name}={value}" for name, value in env.items()]]
        return ["ip", "netns", "exec", self.namespace, *self.with_token(), *as_user, *clean, self.programs[program], *arguments]

    def with_token(self) -> list[str]:
        """Mounts the service account's files where the kubelet does, only for this pod: ip gives each command its own
        mount namespace."""
        if SERVICE_ACCOUNT not in self.folders or not self.spec["automountServiceAccountToken"]:
            return []
        script = f'mount -t tmpfs tmpfs /run && mkdir -p {SERVICE_ACCOUNT} && mount --bind "$1" {SERVICE_ACCOUNT} && shift && exec "$@"'
        return ["sh", "-c", script, "sh", self.folders[SERVICE_ACCOUNT]]

    def passes(self, probe: str) -> bool:
        """The result of the kubelet's probe."""
        asked = self.container[probe]
        patience = asked.get("timeoutSeconds", 1) * 10  # this machine is slow; the verdict is the same
        with contextlib.suppress(Exception):
            if "grpc" in asked:
                with grpc.insecure_channel(f"{self.address}:{asked['grpc']['port']}") as channel:
                    request = health_pb2.HealthCheckRequest(service=asked["grpc"]["service"])
                    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=patience)
                return answer.status == health_pb2.HealthCheckResponse.SERVING
            port = next(p["containerPort"] for p in self.container["ports"] if p["name"] == asked["httpGet"]["port"])
            url = f"{asked['httpGet'].get('scheme', 'HTTP').lower()}://{self.address}:{port}{asked['httpGet']['path']}"
            # The kubelet does not verify certificates either.
            with urllib.request.urlopen(url, timeout=patience, context=ssl._create_unverified_context()) as answer:
                return 200 <= answer.status < 400
        return False

    def wait_until_ready(self):
        self.processes.wait_for(lambda: self.is_alive() and self.passes("startupProbe"), f"{self.name} to start")
        self.processes.wait_for(lambda: self.passes("readinessProbe") and self.passes("livenessProbe"), f"{self.name} to be ready")

    def is_alive(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}")
        return True

    def kill(self):
        self.process.kill()
        self.process.wait()

    def leave(self) -> float:
        """preStop, SIGTERM, and at most the grace period. Returns the seconds taken. Being killed is an error."""
        begun = time.monotonic()
        hook = self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        time.sleep(hook)
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=self.spec["terminationGracePeriodSeconds"] - hook)
        if code != 0:
            raise RuntimeError(f"{self.name} left with {code}")
        return time.monotonic() - begun
