"""A shop's infrastructure of `terraform_data`, and the runner that deploys it with the embedded Terraform."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from pipecd.platforms.terraform.config import Provider
from tests.stages.stage_runner import StageRunner, open_runner

EMBEDDED = Provider(binary="embedded")


def app_file(stages: list[Any] | None = None, **asked: Any) -> str:
    spec: dict[str, Any] = {"name": "shop", "input": asked}
    if stages:
        spec["pipeline"] = {"stages": [{"name": one} if isinstance(one, str) else one for one in stages]}
    return yaml.safe_dump({"apiVersion": "pipecd.dev/v1beta1", "kind": "TerraformApp", "spec": spec})


def configuration(state: Path, body: str) -> str:
    return f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n{body}'


def data(name: str, value: str) -> str:
    return f'resource "terraform_data" "{name}" {{\n  input = "{value}"\n}}\n'


def values(state: Path) -> dict[str, Any]:
    """What the state holds: a resource's input by its name."""
    if not state.exists() or not state.read_text():
        return {}
    resources = json.loads(state.read_text())["resources"]
    return {
        one["name"]: one["instances"][0]["attributes"]["input"]["value"]
        for one in resources
        if one["type"] == "terraform_data"
    }


@asynccontextmanager
async def shop_runner(folder: Path, body: str, *, file: str = "", **more: Any) -> AsyncIterator[StageRunner]:
    """`body` at its first commit, with its state in `folder/state`."""
    files = {"app.pipecd.yaml": file or app_file(), "main.tf": configuration(folder / "state", body)}
    async with open_runner(folder, {**files, **more}, provider=EMBEDDED) as runner:
        yield runner
