"""A fake API server that knows only the EndpointSlice of the workers' service. It lists and watches it like the real
one, over TLS, for the token of the coordinators' service account. It also plays the endpoint controller: the pods
reported as ready are in the slice. There is no pagination, no bookmarks and no 410; the tests of fabric/ cover those."""

import http.server
import json
import pathlib
import secrets
import ssl
import threading
import urllib.parse


class ApiServer:
    """Serves on `address` with the certificate in `folder` (tls.crt, tls.key, ca.crt); ends with the process."""

    def __init__(self, address: str, namespace: str, service: str, folder: pathlib.Path):
        self.folder, self.token = folder, secrets.token_urlsafe(32)
        # Calls with another token, or without one.
        self.turned_away = 0
        self.namespace, self.service = namespace, service
        self.changed = threading.Condition()
        self.version = 1
        self.slice = self.of([])
        self.history: list[dict] = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                api.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        # The handshake is done when a call is read, in the call's own thread.
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def service_account(self, folder: pathlib.Path):
        """The files that the kubelet mounts into a pod with a token."""
        folder.mkdir()
        (folder / "token").write_text(self.token)
        (folder / "ca.crt").write_text((self.folder / "ca.crt").read_text())
        (folder / "namespace").write_text(self.namespace)

    def environment(self) -> dict[str, str]:
        """The variables that the kubelet sets for every pod."""
        host, port = self.server.server_address
        return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port), "KUBERNETES_SERVICE_PORT_HTTPS": str(port)}

    def publish(self, pods: list[tuple[str, str]]):
        """Sets the ready pods to exactly these (name, address)."""
        with self.changed:
            self.version += 1
            self.slice = self.of(pods)
            self.history.append({"type": "MODIFIED", "object": self.slice})
            self.changed.notify_all()

    def of(self, pods: list[tuple[str, str]]) -> dict:
        return {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": f"{self.service}-1", "namespace": self.namespace, "resourceVersion": str(self.version),
                "labels": {"kubernetes.io/service-name": self.service},
            },
            "endpoints": [
                {
                    "addresses": [address], "conditions": {"ready": True, "serving": True, "terminating": False},
                    "targetRef": {"kind": "Pod", "name": name, "namespace": self.namespace},
                }
                for name, address in pods
            ],
            "ports": [{"name": "grpc", "port": 7481, "protocol": "TCP"}],
        }

    def answer(self, call: http.server.BaseHTTPRequestHandler):
        url = urllib.parse.urlparse(call.path)
        asked = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        if call.headers.get("Authorization") != f"Bearer {self.token}":
            self.turned_away += 1
            call.send_error(401)
            return
        if url.path != f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices":
            call.send_error(403)  # the chart's Role gives no more
            return
        call.send_response(200)
        call.send_header("Content-Type", "application/json")
        if asked.get("watch") in ("true", "1"):
            call.send_header("Transfer-Encoding", "chunked")
            call.end_headers()
            self.watch(call, int(asked.get("resourceVersion") or 0))
            return
        with self.changed:
            meta = {"resourceVersion": str(self.version)}
            body = json.dumps({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList", "metadata": meta, "items": [self.slice]}).encode()
        call.send_header("Content-Length", str(len(body)))
        call.end_headers()
        call.wfile.write(body)

    def watch(self, call: http.server.BaseHTTPRequestHandler, since: int):
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.version > since, timeout=30)
                    events = [e for e in self.history if int(e["object"]["metadata"]["resourceVersion"]) > since]
                    since = self.version if events else since
                for event in events:
                    line = json.dumps(event).encode() + b"\n"
                    call.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                call.wfile.flush()
        except OSError:
            pass  # the coordinator has gone
