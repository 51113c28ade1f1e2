"""The Helm charts of `deploy/kubernetes`, rendered by Helm, and the tables of values in their READMEs.

`python -m tests.deploy.charts` writes the tables from the comments in the files `values.yaml`.
"""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parents[2] / "deploy" / "kubernetes"
NAMES = ("piped", "pipecd")
PIPED = """\
apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: shop
  pipedID: 00000000-0000-0000-0000-000000000000
  pipedKeyFile: /etc/piped-secret/piped-key
  apiAddress: pipecd.example.com:443
"""
CONTROL_PLANE = """\
apiVersion: pipecd.dev/v1beta1
kind: ControlPlane
spec:
  address: https://pipecd.example.com
  projects:
    - id: shop
      staticAdmin: {username: admin, passwordHash: '$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA'}
"""
#: The least that each chart needs.
VALUES: dict[str, dict[str, Any]] = {
    "piped": {
        "image": {"repository": "registry.example.com/pipecd/piped"},
        "config": {"data": PIPED},
        "secret": {"data": {"piped-key": "key"}},
    },
    "pipecd": {
        "image": {"repository": "registry.example.com/pipecd/controlplane"},
        "config": {"data": CONTROL_PLANE},
        "secret": {"data": {"encryption-key": "key"}},
    },
}
_EMPTY = ('""', "[]", "{}")
_TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- end of values -->)", re.DOTALL)


class HelmError(Exception):
    """Helm failed; the text is what it printed."""


def helm(program: Path, *arguments: str, values: Any = None) -> str:
    """Runs Helm with `values` as a file. Raises HelmError."""
    if values is not None:
        arguments = (*arguments, "--values=-")
    run = subprocess.run(
        [str(program), *arguments],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        env={**os.environ, "HELM_CACHE_HOME": "/nonexistent", "HELM_CONFIG_HOME": "/nonexistent"},
    )
    if run.returncode:
        raise HelmError(run.stderr)
    return run.stdout


def merged(base: Any, changes: Any) -> Any:
    """As Helm merges values: maps by key, everything else replaced."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}


def render(program: Path, chart: str, changes: Any = None, *, namespace: str = "pipecd") -> list[Any]:
    """The objects of the release `CHART`, with `VALUES` and `changes`."""
    values = merged(VALUES[chart], changes or {})
    output = helm(program, "template", chart, str(CHARTS / chart), f"--namespace={namespace}", values=values)
    return [document for document in yaml.safe_load_all(output) if document]


def of_kind(objects: Sequence[Any], kind: str) -> list[Any]:
    return [document for document in objects if document["kind"] == kind]


def container(objects: Sequence[Any]) -> Any:
    [deployment] = of_kind(objects, "Deployment")
    [only] = deployment["spec"]["template"]["spec"]["containers"]
    return only


def documented_values(chart: str) -> dict[str, tuple[str, str]]:
    """Path of a value → its default as JSON, and the comment above it."""
    text = (CHARTS / chart / "values.yaml").read_text()
    defaults, found = yaml.safe_load(text), dict[str, tuple[str, str]]()
    path, comment = list[str](), ""
    for line in text.splitlines():
        if match := re.match(r" *# -- (.*)", line):
            comment = match[1]
        elif match := re.match(r"( *)([A-Za-z]+):", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if comment:
                default = defaults
                for key in path:
                    default = default[key]
                found[".".join(path)] = (json.dumps(default), comment)
            comment = ""
    return found


def table(chart: str) -> str:
    rows = [
        f"| `{path}` | {comment} | {'' if default in _EMPTY else f'`{default}`'} |"
        for path, (default, comment) in documented_values(chart).items()
    ]
    return "\n".join(["| Value | Meaning | Default |", "|---|---|---|", *rows, ""])


def with_table(chart: str) -> str:
    """The README of a chart with the table of its values."""
    return _TABLE.sub(lambda _: table(chart), (CHARTS / chart / "README.md").read_text())


if __name__ == "__main__":
    for name in NAMES:
        text = with_table(name)
        (CHARTS / name / "README.md").write_text(text)
