"""Objects in a directory and in a bucket: the same promises."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipecd.config.controlplane import ControlPlaneSpec
from pipecd.controlplane.blobs import Blobs, open_blobs
from pipecd.errors import NotFound, Temporary
from tests.aws import REGION, emulated_aws
from tests.controlplane.server_fixture import spec

FAR_AHEAD = 2**40


def bucket(folder: Path, url: str) -> dict[str, Any]:
    for name in ("access", "secret"):
        (folder / name).write_text("tester\n")
    return {
        "bucket": "objects",
        "region": REGION,
        "endpoint": url,
        "accessKeyFile": str(folder / "access"),
        "secretKeyFile": str(folder / "secret"),
    }


def opened(folder: Path, **filestore: Any) -> Blobs:
    made: ControlPlaneSpec = spec(folder, filestore=filestore)
    return open_blobs(made)


@pytest.fixture(params=["directory", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "directory":
        yield opened(tmp_path, type="LOCAL", config={"path": str(tmp_path / "objects")})
        return
    with emulated_aws() as aws:
        aws.client("s3").create_bucket(
            Bucket="objects", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield opened(tmp_path, type="S3", config=bucket(tmp_path, aws.url))


async def test_what_was_written_is_read_as_a_whole(blobs: Blobs) -> None:
    await blobs.write("a/b.json", b"one")
    await blobs.write("a/b.json", b"another")
    assert await blobs.read("a/b.json") == b"another"
    with pytest.raises(NotFound):
        await blobs.read("a/c.json")


async def test_outputs_of_commands_are_forgotten_and_nothing_else(blobs: Blobs) -> None:
    await blobs.write_command_output("old", b"output")
    await blobs.write("application-live-state/app.json", b"{}")
    assert await blobs.forget_command_outputs(0) == 0
    assert await blobs.command_output("old") == b"output"
    assert await blobs.forget_command_outputs(FAR_AHEAD) == 1
    with pytest.raises(NotFound):
        await blobs.command_output("old")
    assert await blobs.read("application-live-state/app.json") == b"{}"
    assert await blobs.forget_command_outputs(FAR_AHEAD) == 0


async def test_a_bucket_that_is_away_will_come_back(tmp_path: Path) -> None:
    away = opened(tmp_path, type="S3", config=bucket(tmp_path, "http://127.0.0.1:9"))
    with pytest.raises(Temporary):
        await away.write("a", b"b")
