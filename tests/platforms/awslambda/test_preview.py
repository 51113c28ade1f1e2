"""Plan preview of a Lambda application."""

from pathlib import Path
from typing import Any

import yaml

from pipecd.platforms.awslambda import platform
from tests.platforms.make_preview import make_preview


def write_application(at: Path, **function: Any) -> Path:
    at.mkdir()
    envelope = {"apiVersion": "pipecd.dev/v1beta1"}
    spec = {"name": "shop", "role": "arn:role", "image": "shop:v1", "memory": 128, "timeout": 5, **function}
    files = {
        "function.yaml": {**envelope, "kind": "LambdaFunction", "spec": spec},
        "app.pipecd.yaml": {**envelope, "kind": "LambdaApp", "spec": {"name": "shop"}},
    }
    for name, document in files.items():
        (at / name).write_text(yaml.safe_dump(document))
    return at


async def test_the_manifest_is_compared(tmp_path: Path) -> None:
    now = write_application(tmp_path / "now", environments={"COLOUR": "blue", "OLD": 1})
    head = write_application(tmp_path / "head", image="shop:v2", environments={"COLOUR": "green"})
    preview = await make_preview(platform, head, now)
    assert preview.summary == "3 changes were detected"
    lines = preview.details.splitlines()
    assert lines[:3] == ["--- Last Deploy", "+++ Head Commit", "# function.yaml"]
    assert {
        "-image: shop:v1",
        "+image: shop:v2",
        "-  OLD: '1'",
        "-  COLOUR: blue",
        "+  COLOUR: green",
    } <= set(lines)


async def test_notation_is_no_change(tmp_path: Path) -> None:
    preview = await make_preview(
        platform,
        write_application(tmp_path / "head", environments={"COUNT": "1"}, layers=[]),
        write_application(tmp_path / "now", environments={"COUNT": 1}),
    )
    assert preview.no_change and preview.summary == "No changes were detected"
