"""Tests the alerts and recording rules that the chart creates for one release (release_rules_test.yaml) with
promtool, and checks that KEDA's queries are among the recording rules."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

import chart

TESTS = pathlib.Path(__file__).with_name("release_rules_test.yaml")
VALUES = chart.CHART / "ci/scale-to-zero.yaml"


def main() -> int:
    documents = chart.render(VALUES)
    rules = next(one["spec"] for one in documents if one["kind"] == "PrometheusRule")
    asked = [one["spec"]["triggers"][0]["metadata"]["query"] for one in documents if one["kind"] == "ScaledObject"]
    recorded = {rule["expr"] for group in rules["groups"] for rule in group["rules"] if "record" in rule}
    if strangers := set(asked) - recorded:
        print(f"KEDA asks what is not recorded: {strangers}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "release_rules.yaml").write_text(yaml.safe_dump(rules))
        tests = shutil.copy(TESTS, folder)
        return subprocess.run(["promtool", "test", "rules", tests], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
