"""Writes applications for the tests of renderers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pipecd.model.stage import Source
from pipecd.platforms.kubernetes import platform
from tests.platforms.aws.stage_runner import load_source


def write_application(root: Path, app_input: dict[str, Any], **files: str) -> Source:
    """An application below `app` of the checkout `root`, and other files of the checkout."""
    spec = {"name": "shop", "input": app_input}
    config = {"apiVersion": "pipecd.dev/v1beta1", "kind": "KubernetesApp", "spec": spec}
    for name, text in {"app/app.pipecd.yaml": yaml.safe_dump(config), **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return replace(load_source(platform, root / "app"), root=root)
