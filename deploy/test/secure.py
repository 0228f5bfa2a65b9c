"""The certificates of the dress rehearsal: creates them in the form of a Secret, tries to connect without one, renews
them."""

import os
import pathlib
import socket
import ssl
import subprocess

import yaml

import chart
from pods import Pod, run

ELLIPTIC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def certificates(folder: pathlib.Path, names: str):
    """An authority, and one certificate for these names, in the form of a Secret."""
    folder.mkdir()
    (folder / "extensions").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n")
    run("openssl", "req", "-x509", *ELLIPTIC, "-days", "2", "-subj", "/CN=rehearsal", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt")
    run("openssl", "req", *ELLIPTIC, "-subj", "/CN=jury", "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.csr")
    sign(folder)


def sign(folder: pathlib.Path):
    """A new certificate from the same authority, for the same key, replacing the last one."""
    new = folder / "tls.crt.new"
    run("openssl", "x509", "-req", "-in", f"{folder}/tls.csr", "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", f"{folder}/extensions", "-out", str(new))
    os.replace(new, folder / "tls.crt")


def named_in_notes(*files: pathlib.Path) -> str:
    """The names that helm's notes require in a user-provided certificate; later files take precedence over earlier
    ones."""
    values = {}
    for file in files:
        values |= yaml.safe_load(file.read_text())
    told = chart.notes(values).split("must be for servers and clients, and name\n", 1)[1].split("\n\n", 1)[0]
    return ",".join(f"DNS:{name}" for name in told.split())


def refusals(cluster) -> list[str]:
    """Callers that must be rejected: without a certificate, also at etcd, and without a token."""
    tls = cluster.folders["tls"]
    wrong = [f"{member.name} does not let in who has a certificate" for member in cluster.members if not healthy(member, tls, shown=True)]
    wrong += [f"{member.name} lets in who has no certificate" for member in cluster.members if healthy(member, tls, shown=False)]
    bare = cluster.call("status", cluster.endpoint(), cluster.as_caller[0])
    command = ["ip", "netns", "exec", cluster.caller, cluster.programs["jury"], "status", cluster.endpoint(), *cluster.as_caller]
    unknown = subprocess.run(command, capture_output=True, text=True, check=False)
    return wrong + [f"let in without a {what}" for what, done in (("certificate", bare), ("token", unknown)) if done.returncode == 0]


def healthy(member: Pod, tls: str, shown: bool) -> bool:
    """Whether a member of etcd reports on its client port that it is healthy."""
    context = of_caller(tls) if shown else ssl.create_default_context(cafile=f"{tls}/ca.crt")
    host = f"{member.name}.jury-etcd.{chart.NAMESPACE}.svc"
    try:
        with socket.create_connection((member.address, 2379)) as tcp, context.wrap_socket(tcp, server_hostname=host) as connection:
            connection.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(16).startswith(b"HTTP/1.1 200")
    except ssl.SSLError:
        return False


def renew(cluster) -> int:
    """Waits until every pod serves a new certificate; returns how many pods there are."""
    folder = pathlib.Path(cluster.folders["tls"])
    sign(folder)
    new = ssl.PEM_cert_to_DER_cert((folder / "tls.crt").read_text())
    pods = cluster.members + cluster.coordinators + cluster.workers
    for pod in pods:
        cluster.processes.wait_for(lambda pod=pod: served(pod, str(folder)) == new, f"{pod.name} to serve the new certificate")
    return len(pods)


def served(pod: Pod, tls: str) -> bytes:
    """The certificate served on the pod's first port."""
    context = of_caller(tls)
    context.check_hostname = False  # it is called by its address
    with socket.create_connection((pod.address, pod.container["ports"][0]["containerPort"])) as tcp, context.wrap_socket(tcp) as connection:
        return connection.getpeercert(binary_form=True)


def of_caller(tls: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=f"{tls}/ca.crt")
    context.load_cert_chain(f"{tls}/tls.crt", f"{tls}/tls.key")
    return context
