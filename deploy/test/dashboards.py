"""Compares the queries of dashboards and rules with the metrics that the binary really exports. A coordinator and a
worker are started, and every metric and label value in a query must be among their metrics. docs/operations.md must
explain every metric and have a runbook for every alert, and no others.
usage: dashboards.py JURY MODEL"""

import json
import re
import subprocess
import sys
import urllib.request

import yaml

import chart
from processes import Processes, free_ports

FILES = chart.CHART / "files"
# Added by Prometheus, the PodMonitors or recording rules, not by us.
OUTSIDE = {"namespace", "pod", "instance", "pool", "job"}
# Labels whose values are all exported from the start.
CLOSED = ("outcome", "answer")
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
    """For the name of every series, its labels and their values."""
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
            elif label in CLOSED and (strangers := set(value.split("|") if operator == "=~" else [value]) - known):
                yield f"{name} is never told with {label} {', '.join(sorted(strangers))}"


def undocumented(texts: list[str], series: dict[str, dict[str, set[str]]]):
    """Mismatches between docs/operations.md and the exported metrics or the rules: metrics, label values, runbooks."""
    docs = (chart.ROOT / "docs/operations.md").read_text()
    told = {line.split()[2] for text in texts for line in text.splitlines() if line.startswith("# TYPE jury_")}
    table = docs.split("## Every figure\n", 1)[1].split("\n## ", 1)[0]
    rows = {name: row for row in table.splitlines() if row.startswith("|") for name in re.findall(r"`(jury_\w+)`", row.split("|")[1])}
    yield from (f"docs/operations.md does not explain {name}" for name in sorted(told - rows.keys()))
    yield from (f"docs/operations.md explains {name}, which nobody tells" for name in sorted(rows.keys() - told))
    for name, labels in series.items():
        row = rows.get(re.sub("_(total|bucket|sum|count)$", "", name), "")
        for label in CLOSED:
            yield from (f"docs/operations.md does not say what {name} with {label} {value} is" for value in sorted(labels.get(label, set())) if f"`{value}`" not in row)
    rules = {rule["alert"]: rule for group in yaml.safe_load((FILES / "rules.yaml").read_text())["groups"] for rule in group["rules"]}
    runbooks = set(re.findall(r"^### (Jury\w+)$", docs, re.MULTILINE))
    yield from (f"docs/operations.md has no runbook {alert}" for alert in sorted(rules.keys() - runbooks))
    yield from (f"docs/operations.md has a runbook {alert}, which is no alert" for alert in sorted(runbooks - rules.keys()))
    for alert, rule in rules.items():
        if not rule["annotations"]["runbook_url"].endswith(f"#{alert.lower()}"):
            yield f"{alert} links another runbook"


def real_figures(jury: str, model: str) -> list[str]:
    """The metrics of a coordinator and a worker after one item."""
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
    texts = real_figures(*sys.argv[1:])
    series = exported(texts)
    asked = list(queries())
    failures = [f"{where}: {problem}" for where, query in asked for problem in problems(query, series)]
    failures += undocumented(texts, series)
    for failure in failures:
        print(failure, file=sys.stderr)
    unseen = sorted(name for name in series if not any(name in query for _, query in asked))
    print(f"dashboards: {len(asked)} queries over {len(series)} series, {len(failures)} problems; told but not asked for: {', '.join(unseen) or 'none'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
