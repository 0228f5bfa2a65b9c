"""Runs the chart's helm-unittest suites (deploy/helm/jury/tests/*_test.yaml) where that plugin is not available.
Supports only the assertions that these files use. With the plugin: helm unittest deploy/helm/jury."""

import re
import sys

import yaml

import chart


def main() -> int:
    passed, failures = 0, []
    for suite_file in sorted((chart.CHART / "tests").glob("*_test.yaml")):
        suite = yaml.safe_load(suite_file.read_text())
        for test in suite["tests"]:
            wrong = run(suite, test)
            passed += not wrong
            failures += [f"{suite['suite']}: {test['it']}: {problem}" for problem in wrong]
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"suites: {passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


def run(suite: dict, test: dict) -> list[str]:
    """The problem with a test; empty if it passes."""
    values = {}
    for file in test.get("values", suite.get("values", [])):
        merge(values, yaml.safe_load((chart.CHART / "tests" / file).read_text()))
    for path, value in {**suite.get("set", {}), **test.get("set", {})}.items():
        put(values, path, value)
    template = test.get("template", suite.get("templates", [None])[0])
    try:
        if template == "NOTES.txt":
            return [p for one in test["asserts"] if (p := check_text(one, chart.notes(values)))]
        documents = chart.render(values, only=f"templates/{template}" if template else None)
    except chart.Refused as error:
        documents, refused = [], str(error)
    else:
        refused = ""
    wrong = []
    for one in test["asserts"]:
        name = next(key for key in one if key not in ("not", "documentSelector", "documentIndex"))
        if name == "failedTemplate":
            pattern = one[name]["errorPattern"]
            if not re.search(pattern, refused):
                wrong.append(f"was not refused with {pattern!r}: {refused.strip() or 'it rendered'}")
        elif refused and "could not find template" in refused and name == "hasDocuments":
            wrong += [] if one[name]["count"] == 0 else [refused]
        elif refused:
            wrong.append(refused.strip())
        elif name == "hasDocuments":
            wrong += [] if len(documents) == one[name]["count"] else [f"{len(documents)} documents"]
        else:
            chosen = select(documents, one)
            wrong += [f"{name} {one[name]}: no document is meant"] if not chosen else []
            wrong += [p for document in chosen if (p := check(name, one[name], document))]
    return wrong


def select(documents: list[dict], assertion: dict) -> list[dict]:
    if "documentIndex" in assertion:
        return [documents[assertion["documentIndex"]]]
    selector = assertion.get("documentSelector")
    if not selector:
        return documents
    return [d for d in documents if selector["value"] in look(d, selector["path"])]


def check(name: str, wanted: dict, document: dict) -> str | None:
    """Why an assertion fails for a document."""
    found = look(document, wanted.get("path", ""))
    holds = {
        "equal": lambda: found == [wanted["value"]],
        "notEqual": lambda: found != [wanted["value"]],
        "exists": lambda: bool(found),
        "notExists": lambda: not found,
        "contains": lambda: len(found) == 1 and wanted["content"] in found[0],
        "notContains": lambda: len(found) == 1 and wanted["content"] not in found[0],
        "matchRegex": lambda: len(found) == 1 and re.search(wanted["pattern"], str(found[0])),
        "lengthEqual": lambda: len(found) == 1 and len(found[0]) == wanted["count"],
        "isKind": lambda: document["kind"] == wanted["of"],
    }
    if name not in holds:
        return f"this runner does not know {name}"
    return None if holds[name]() else f"{name} {wanted}: found {found}"


def check_text(assertion: dict, text: str) -> str | None:
    """Why an assertion fails for a text."""
    name, wanted = next(iter(assertion.items()))
    holds = {"matchRegexRaw": lambda found: found, "notMatchRegexRaw": lambda found: not found}
    if name not in holds:
        return f"this runner does not know {name} of a text"
    return None if holds[name](re.search(wanted["pattern"], text)) else f"{name} {wanted}: found {text}"


def look(value, path: str) -> list:
    """The value at a path such as spec.containers[0].args or metadata.labels["a.b/c"]; empty if there is none."""
    for quoted, index, plain in re.findall(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)', path):
        try:
            value = value[int(index)] if index else value[quoted or plain]
        except (KeyError, IndexError, TypeError):
            return []
    return [value]


def put(values: dict, path: str, value):
    *folders, last = path.split(".")
    for folder in folders:
        match = re.fullmatch(r"(\w+)\[(\d+)\]", folder)
        values = values[match[1]][int(match[2])] if match else values.setdefault(folder, {})
    values[last] = value


def merge(into: dict, more: dict):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


if __name__ == "__main__":
    sys.exit(main())
