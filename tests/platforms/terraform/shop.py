"""An application of `terraform_data` resources, and a stage runner with real Terraform."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from pipecd.platforms.terraform.config import Provider
from tests.stages.stage_runner import StageRunner, open_runner

#: The machine's Terraform; the embedded one, whose commands take three times the CPU time, if it has none.
INSTALLED = Provider()
#: For tests of what differs in the embedded one: its version, and its reaction to signals.
EMBEDDED = Provider(binary="embedded")


def app_file(stages: list[Any] | None = None, **app_input: Any) -> str:
    spec: dict[str, Any] = {"name": "shop", "input": app_input}
    if stages:
        spec["pipeline"] = {
            "stages": [{"name": stage} if isinstance(stage, str) else stage for stage in stages]
        }
    return yaml.safe_dump({"apiVersion": "pipecd.dev/v1beta1", "kind": "TerraformApp", "spec": spec})


def configuration(state: Path, body: str) -> str:
    return f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n{body}'


def data(name: str, value: str) -> str:
    return f'resource "terraform_data" "{name}" {{\n  input = "{value}"\n}}\n'


def values(state: Path) -> dict[str, Any]:
    """Resource name → input in the state."""
    if not state.exists() or not state.read_text():
        return {}
    resources = json.loads(state.read_text())["resources"]
    return {
        resource["name"]: resource["instances"][0]["attributes"]["input"]["value"]
        for resource in resources
        if resource["type"] == "terraform_data"
    }


@asynccontextmanager
async def shop_runner(
    folder: Path,
    body: str,
    *,
    file: str = "",
    provider: Provider = INSTALLED,
    files: Mapping[str, str] | None = None,
) -> AsyncIterator[StageRunner]:
    """A runner of a repository with `body` at its first commit and its state in `folder/state`."""
    usual = {"app.pipecd.yaml": file or app_file(), "main.tf": configuration(folder / "state", body)}
    async with open_runner(folder, {**usual, **(files or {})}, provider=provider) as runner:
        yield runner
