"""Plan preview of a Lambda application."""

from pathlib import Path
from typing import Any

import yaml

from pipecd.piped.deploy.planner import refused_changes
from pipecd.piped.preview import with_refused_changes
from pipecd.platforms.awslambda import platform
from tests.platforms.aws.stage_runner import load_source
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


async def test_a_change_that_aws_refuses_is_named_first(tmp_path: Path) -> None:
    archive = {"image": "", "s3Bucket": "b", "s3Key": "k", "handler": "a.b", "runtime": "python3.13"}
    now = write_application(tmp_path / "now")
    head = write_application(tmp_path / "head", **archive)
    running, target = [await platform.load_desired_state(load_source(platform, at)) for at in (now, head)]
    preview = with_refused_changes(
        await make_preview(platform, head, now), refused_changes(platform, running, target)
    )
    first, second, *_ = preview.details.splitlines()
    assert first.startswith("! AWS cannot change the package type of the function shop from Image to Zip; ")
    assert second == "--- Last Deploy" and "AWS cannot change the package type" in preview.summary
    assert refused_changes(platform, running, running) == ()
    assert refused_changes(platform, None, target) == ()
