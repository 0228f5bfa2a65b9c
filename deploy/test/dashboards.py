"""Compares what dashboards and rules ask for with what the binary really tells: a coordinator and a worker are started, and every
metric and every label value of a query must be among their figures, and every figure and alert in docs/operations.md. usage: dashboards.py JURY MODEL"""

import json
import re
import subprocess
import sys
import urllib.request

import yaml

import chart
from processes import Processes, free_ports

FILES = chart.CHART / "files"
# Added by Prometheus, the PodMonitors or recording rules; not by us.
OUTSIDE = {"namespace", "pod", "instance", "pool", "job"}
NAMES = re.compile(r"\bjury_[a-z_]+\b")
SELECTOR = re.compile(r"\b(jury_[a-z_]+)\{([^}]*)\}")


def queries():
    """(where, query) of all dashboards and rules, and what the chart's autoscaling asks for."""
    for file in sorted((FILES / "dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text())
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{file.name}: ${variable['name']}", variable["query"]["query"]
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield f"{file.name}: {panel['title']}", target["expr"]
    for group in yaml.safe_load((FILES / "rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"rules.yaml: {rule['alert']}", rule["expr"]
    for document in chart.render(chart.CHART / "ci/scale-to-zero.yaml", only="templates/autoscaling.yaml"):
        for trigger in document["spec"].get("triggers", []):
            yield f"{document['metadata']['name']}: {trigger['name']}", trigger["metadata"]["query"]


def exported(texts: list[str]) -> dict[str, dict[str, set[str]]]:
    """Of every series' name, its labels and their values."""
    series: dict[str, dict[str, set[str]]] = {}
    for line in "\n".join(texts).splitlines():
        if match := re.match(r"(jury_\w+)(?:\{(.*)\})? ", line):
            labels = series.setdefault(match[1], {})
            for name, value in re.findall(r'(\w+)="([^"]*)"', match[2] or ""):
                labels.setdefault(name, set()).add(value)
    return series


def problems(query: str, series: dict[str, dict[str, set[str]]]):
    for name in NAMES.findall(query):
        if name not in series:
            yield f"nobody tells {name}"
    for name, selector in SELECTOR.findall(query):
        for label, operator, value in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', selector):
            if label in OUTSIDE or name not in series:
                continue
            known = series[name].get(label, set())
            if label not in series[name]:
                yield f"{name} has no label {label}"
            elif label == "outcome" and operator != "=~" and value not in known:
                yield f"{name} is never told with {label} {value}"


def undocumented(series: dict[str, dict[str, set[str]]]):
    """Figures and alerts without a word, or a runbook, in docs/operations.md."""
    docs = (chart.ROOT / "docs/operations.md").read_text()
    for name in sorted({re.sub("_(total|bucket|sum|count)$", "", name) for name in series}):
        if f"`{name}`" not in docs:
            yield f"docs/operations.md does not explain {name}"
    for group in yaml.safe_load((FILES / "rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            if f"### {rule['alert']}\n" not in docs:
                yield f"docs/operations.md has no runbook {rule['alert']}"
            if not rule["annotations"]["runbook_url"].endswith(f"#{rule['alert'].lower()}"):
                yield f"{rule['alert']} links another runbook"


def real_figures(jury: str, model: str) -> list[str]:
    """What a coordinator and a worker tell, after one item."""
    grpc, door, coordinator, worker = free_ports(4)
    with Processes() as processes:
        processes.start("worker", [jury, "worker", "--model", model, f"--listen=127.0.0.1:{door}", f"--metrics-listen=127.0.0.1:{worker}"])
        processes.start("coordinator", [jury, "coordinator", f"--worker=http://127.0.0.1:{door}", f"--listen=127.0.0.1:{grpc}", f"--metrics-listen=127.0.0.1:{coordinator}"])
        for port in (worker, coordinator):
            processes.wait_for(lambda port=port: read(port, "/healthz"), f"port {port}")
        item = '{"query": "2 + 2?", "responses": ["4", "5"]}'
        subprocess.run(
            [jury, "score", "-", f"--endpoint=http://127.0.0.1:{grpc}", "--k=2", "--max-critique-tokens=8", "--budget=300s", "--json"],
            input=item, text=True, check=True, stdout=subprocess.DEVNULL,
        )
        return [read(worker, "/metrics"), read(coordinator, "/metrics")]


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def main() -> int:
    series = exported(real_figures(*sys.argv[1:]))
    asked = list(queries())
    failures = [f"{where}: {problem}" for where, query in asked for problem in problems(query, series)]
    failures += undocumented(series)
    for failure in failures:
        print(failure, file=sys.stderr)
    unseen = sorted(name for name in series if not any(name in query for _, query in asked))
    print(f"dashboards: {len(asked)} queries over {len(series)} series, {len(failures)} problems; told but not asked for: {', '.join(unseen) or 'none'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
