"""Sends one score through a coordinator and a worker whose spans go to an independent receiver (rotel), and checks
the result: one trace, from the caller through the coordinator to each sample of the worker. usage: traces.py JURY
ROTEL MODEL"""

import re
import subprocess
import sys
from dataclasses import dataclass, field

from processes import Processes, free_ports

K = 2
ITEM = '{"query": "What is the capital of France?", "responses": ["The capital of France is Paris.", "It is Lyon."]}'
WORDS = ("France", "Paris", "Lyon")
# (service, span, kind) from the root down, and how many there are of the last.
EXPECTED = [
    ("jury-score", "jury.v1.RewardService/ScoreWithProgress", "CLIENT"),
    ("jury-coordinator", "jury.v1.RewardService/ScoreWithProgress", "SERVER"),
    ("jury-coordinator", "request", "INTERNAL"),
    ("jury-coordinator", "jury.v1.SamplingService/Sample", "CLIENT"),
    ("jury-worker", "jury.v1.SamplingService/Sample", "SERVER"),
    ("jury-worker", "sample", "INTERNAL"),
]


@dataclass
class Span:
    service: str
    told: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    def kind(self) -> str:
        return self.told["Kind"].removeprefix("SPAN_KIND_")

    def milliseconds(self) -> float:
        return (int(self.told["End time"]) - int(self.told["Start time"])) / 1e6


def received(text: str) -> list[Span]:
    """The spans in the receiver's human-readable output."""
    spans, service, at = [], "", None
    for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():
        if line.startswith("ResourceSpans"):
            at = None
        elif re.match(r"Span #\d+", line):
            spans.append(at := Span(service))
        elif attribute := re.match(r"\s+-> ([\w.]+): \w+\((.*)\)$", line):
            if at:
                at.attributes[attribute[1]] = attribute[2]
            elif attribute[1] == "service.name":
                service = attribute[2]
        elif at and (one := re.match(r"\s*([A-Z][\w ]*?)\s*: ?(.*)$", line)):
            at.told[one[1]] = one[2].strip()
    return spans


def tree(spans: list[Span], parent: str = "", depth: int = 0):
    """(depth, span) of all descendants of a parent."""
    for span in sorted((one for one in spans if one.told["Parent ID"] == parent), key=lambda one: int(one.told["Start time"])):
        yield depth, span
        yield from tree(spans, span.told["ID"], depth + 1)


def judged(processes: Processes, jury: str, rotel: str, model: str) -> str:
    """The receiver's output after one item."""
    grpc, http, worker, coordinator = free_ports(4)
    receiver = [rotel, "start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]
    receiver += ["--otlp-grpc-endpoint", f"127.0.0.1:{grpc}", "--otlp-http-endpoint", f"127.0.0.1:{http}"]
    receiver += ["--pid-file", str(processes.folder / "rotel.pid"), "--log-file", str(processes.folder / "rotel.file")]
    processes.start("rotel", receiver)
    log = processes.folder / "rotel.log"
    processes.wait_for(lambda: "Starting Rotel" in log.read_text(), "the receiver")
    to = f"--otlp-endpoint=http://127.0.0.1:{grpc}"
    parts = [
        processes.start("worker", [jury, "worker", f"--model={model}", f"--listen=127.0.0.1:{worker}", to]),
        processes.start("coordinator", [jury, "coordinator", f"--worker=http://127.0.0.1:{worker}", f"--listen=127.0.0.1:{coordinator}", to]),
    ]
    for port in (worker, coordinator):
        processes.wait_for(lambda port=port: subprocess.run([jury, "health", f"--endpoint=http://127.0.0.1:{port}"], check=True, capture_output=True), f"port {port}")
    score = [jury, "score", "-", f"--endpoint=http://127.0.0.1:{coordinator}", f"-k={K}", "--max-critique-tokens=8", "--budget=300s", "--json", to]
    subprocess.run(score, input=ITEM, text=True, check=True, capture_output=True)
    # The remaining spans are sent when the processes end.
    for part in parts:
        part.terminate()
        part.wait()
    processes.wait_for(lambda: len([one for one in received(log.read_text()) if one.service == "jury-worker"]) >= K, "the worker's spans")
    return log.read_text()


def problems(spans: list[Span], text: str):
    if len({span.told["Trace ID"] for span in spans}) != 1:
        yield f"the spans are of {len({span.told['Trace ID'] for span in spans})} traces"
    by_id = {span.told["ID"]: span for span in spans}
    samples = [span for span in spans if span.told["Name"] == "sample"]
    if len(samples) != K:
        yield f"{len(samples)} samples, {K} were asked for"
    for sample in samples:
        way = [sample]
        while way[0].told["Parent ID"] in by_id:
            way.insert(0, by_id[way[0].told["Parent ID"]])
        if (found := [(span.service, span.told["Name"], span.kind()) for span in way]) != EXPECTED:
            yield f"a sample's way is {found}"
        if sample.attributes.get("outcome") != "Scored":
            yield f"a sample has the attributes {sample.attributes}"
    yield from (f"{word} was exported" for word in WORDS if word in text)


def main() -> int:
    with Processes() as processes:
        text = judged(processes, *sys.argv[1:])
    spans = received(text)
    for depth, span in tree(spans):
        attributes = " ".join(f"{name}={value}" for name, value in span.attributes.items() if name in ("samples", "index", "tokens", "outcome"))
        print(f"  {'  ' * depth + span.told['Name']:<56} {span.service:<17} {span.kind().lower():<9} {span.milliseconds():>6.0f} ms  {attributes}".rstrip())
    failures = list(problems(spans, text))
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"traces: {len(spans)} spans at the receiver, {len(failures)} problems")
    return 1 if failures or not spans else 0


if __name__ == "__main__":
    sys.exit(main())
