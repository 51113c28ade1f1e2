"""Objects in a directory and in a bucket: the same promises."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pipecd.config.controlplane import ControlPlaneSpec
from pipecd.controlplane.store.blobs import Blobs, open_blobs
from pipecd.errors import ConfigError, NotFound, Temporary
from tests.aws import REGION, Aws, chain, emulated_aws
from tests.controlplane.server_fixture import spec
from tests.google import google_storage
from tests.replies import replying

FAR_AHEAD = 2**40
ACCOUNT = {"client_email": "", "private_key": "", "private_key_id": ""}


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


def make_bucket(aws: Aws) -> None:
    aws.client("s3").create_bucket(Bucket="objects", CreateBucketConfiguration={"LocationConstraint": REGION})


def google_bucket(folder: Path, url: str) -> dict[str, Any]:
    account = {"gcs_base_url": url, "disable_oauth": True, **ACCOUNT}
    (folder / "account.json").write_text(json.dumps(account))
    return {"bucket": "objects", "credentialsFile": str(folder / "account.json")}


def opened(folder: Path, **filestore: Any) -> Blobs:
    made: ControlPlaneSpec = spec(folder, filestore=filestore)
    return open_blobs(made)


@pytest.fixture(params=["directory", "S3", "MINIO", "GCS"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "directory":
        yield opened(tmp_path, type="LOCAL", config={"path": str(tmp_path / "objects")})
        return
    if request.param == "GCS":
        with google_storage("objects") as url:
            yield opened(tmp_path, type="GCS", config=google_bucket(tmp_path, url))
        return
    with emulated_aws() as aws:
        config = bucket(tmp_path, aws.url)
        if request.param == "MINIO":
            config["autoCreateBucket"] = True
        else:
            make_bucket(aws)
        yield opened(tmp_path, type=request.param, config=config)


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


async def test_a_bucket_that_is_there_already_is_used(tmp_path: Path) -> None:
    with emulated_aws() as aws:
        config = {**bucket(tmp_path, aws.url), "autoCreateBucket": True}
        await opened(tmp_path, type="MINIO", config=config).write("a", b"b")
        assert await opened(tmp_path, type="MINIO", config=config).read("a") == b"b"


async def test_a_bucket_that_cannot_be_made_yet(tmp_path: Path) -> None:
    config = {**bucket(tmp_path, "http://127.0.0.1:9"), "autoCreateBucket": True}
    with pytest.raises(Temporary, match=r"endpoint: \S+ does not answer"):
        opened(tmp_path, type="MINIO", config=config)
    with replying() as server:
        config["endpoint"] = server.url
        server.status = 403
        with pytest.raises(ConfigError, match=r"bucket objects cannot be made \(HTTP 403\)"):
            opened(tmp_path, type="MINIO", config=config)


async def test_the_request_for_a_bucket_is_sent_as_it_was_signed(tmp_path: Path) -> None:
    """The emulator takes any signature, so it is computed here once more."""
    with replying() as server:
        server.status = 200
        opened(tmp_path, type="MINIO", config={**bucket(tmp_path, server.url), "autoCreateBucket": True})
        (asked,) = server.asked
    method, _, target = asked.partition(" ")
    path, _, query = target.partition("?")
    signed = dict(parse_qsl(query))
    given = signed.pop("X-Amz-Signature")
    request = AWSRequest(method, f"{server.url}{path}?{urlencode(signed)}")
    request.context["timestamp"] = signed["X-Amz-Date"]
    signer = S3SigV4QueryAuth(Credentials("tester", "tester"), "s3", "us-east-1")
    wanted = signer.string_to_sign(request, signer.canonical_request(request))
    assert signer.signature(wanted, request) == given


async def test_keys_may_stand_in_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\n[shop]\naws_access_key_id = a\naws_secret_access_key = hush-hush\n")
    with emulated_aws() as aws:
        make_bucket(aws)
        config = {"bucket": "objects", "region": REGION, "endpoint": aws.url, "credentialsFile": str(file)}
        blobs = opened(tmp_path, type="S3", config={**config, "profile": "shop"})
        await blobs.write("a", b"b")
        assert await blobs.read("a") == b"b"
        with pytest.raises(ConfigError, match="has no profile default with aws_access_key_id"):
            opened(tmp_path, type="S3", config=config)
    file.write_text("hush-hush")
    with pytest.raises(ConfigError) as refused:
        opened(tmp_path, type="S3", config=config)
    assert "hush-hush" not in str(refused.value)


async def test_a_web_identity_stands_for_a_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only whom it asks is seen: the token travels over HTTPS, which the emulator does not speak."""
    (tmp_path / "token").write_text("a.b.c")
    role = {"roleARN": "arn:aws:iam::123456789012:role/objects", "tokenFile": str(tmp_path / "token")}
    with emulated_aws() as aws, chain(monkeypatch, {"AWS_ENDPOINT_URL_STS": "https://127.0.0.1:9"}):
        make_bucket(aws)
        config = {"bucket": "objects", "region": REGION, "endpoint": aws.url, **role}
        with pytest.raises(Temporary) as away:
            await opened(tmp_path, type="S3", config=config).write("a", b"b")
        assert "POST" in str(away.value.__cause__), "an object would be PUT"


async def test_an_account_that_is_none_is_told_without_its_text(tmp_path: Path) -> None:
    config = google_bucket(tmp_path, "http://127.0.0.1:9")
    (tmp_path / "account.json").write_text('{"private_key": "hush-hush"}')
    with pytest.raises(ConfigError, match="GCS cannot be opened") as refused:
        opened(tmp_path, type="GCS", config=config)
    assert "hush-hush" not in str(refused.value)
