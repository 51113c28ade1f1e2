"""Object storage behaves the same in a directory and in every kind of bucket."""

import asyncio
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
from pipecd.controlplane.settings import ObjectStoreSettings
from pipecd.controlplane.store.blobs import Blobs, open_blobs
from pipecd.controlplane.store.object_stores import DEFAULT_SETTINGS
from pipecd.errors import ConfigError, NotFound, Temporary
from tests.aws import REGION, Aws, credential_chain, emulated_aws
from tests.controlplane.server_fixture import spec
from tests.google import google_storage
from tests.replies import reply_server

FAR_FUTURE = 2**40
ACCOUNT = {"client_email": "", "private_key": "", "private_key_id": ""}


def s3_config(folder: Path, url: str) -> dict[str, Any]:
    for name in ("access", "secret"):
        (folder / name).write_text("tester\n")
    return {
        "bucket": "objects",
        "region": REGION,
        "endpoint": url,
        "accessKeyFile": str(folder / "access"),
        "secretKeyFile": str(folder / "secret"),
    }


def create_bucket(aws: Aws) -> None:
    aws.client("s3").create_bucket(Bucket="objects", CreateBucketConfiguration={"LocationConstraint": REGION})


def gcs_config(folder: Path, url: str) -> dict[str, Any]:
    account = {"gcs_base_url": url, "disable_oauth": True, **ACCOUNT}
    (folder / "account.json").write_text(json.dumps(account))
    return {"bucket": "objects", "credentialsFile": str(folder / "account.json")}


def open_test_blobs(
    folder: Path, settings: ObjectStoreSettings = DEFAULT_SETTINGS, **filestore: Any
) -> Blobs:
    config: ControlPlaneSpec = spec(folder, filestore=filestore)
    return open_blobs(config, settings)


@pytest.fixture(params=["directory", "S3", "MINIO", "GCS"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "directory":
        yield open_test_blobs(tmp_path, type="LOCAL", config={"path": str(tmp_path / "objects")})
        return
    if request.param == "GCS":
        with google_storage("objects") as url:
            yield open_test_blobs(tmp_path, type="GCS", config=gcs_config(tmp_path, url))
        return
    with emulated_aws() as aws:
        config = s3_config(tmp_path, aws.url)
        if request.param == "MINIO":
            config["autoCreateBucket"] = True
        else:
            create_bucket(aws)
        yield open_test_blobs(tmp_path, type=request.param, config=config)


async def test_a_read_returns_the_last_write_as_a_whole(blobs: Blobs) -> None:
    await blobs.write("a/b.json", b"one")
    await blobs.write("a/b.json", b"another")
    assert await blobs.read("a/b.json") == b"another"
    with pytest.raises(NotFound):
        await blobs.read("a/c.json")


async def test_only_old_command_outputs_are_deleted(blobs: Blobs) -> None:
    await blobs.write_command_output("old", b"output")
    await blobs.write("application-live-state/app.json", b"{}")
    assert await blobs.delete_command_outputs(0) == 0
    assert await blobs.command_output("old") == b"output"
    assert await blobs.delete_command_outputs(FAR_FUTURE) == 1
    with pytest.raises(NotFound):
        await blobs.command_output("old")
    assert await blobs.read("application-live-state/app.json") == b"{}"
    assert await blobs.delete_command_outputs(FAR_FUTURE) == 0


async def test_an_unreachable_bucket_is_a_temporary_error(tmp_path: Path) -> None:
    blobs = open_test_blobs(tmp_path, type="S3", config=s3_config(tmp_path, "http://127.0.0.1:9"))
    with pytest.raises(Temporary):
        await blobs.write("a", b"b")


async def test_a_bucket_that_does_not_exist_is_not_an_empty_one(tmp_path: Path) -> None:
    with emulated_aws() as aws:
        blobs = open_test_blobs(tmp_path, type="S3", config=s3_config(tmp_path, aws.url))
        with pytest.raises(
            Temporary, match="reading a from the object store failed: the bucket does not exist"
        ):
            await blobs.read("a")
        with pytest.raises(Temporary, match="the bucket does not exist"):
            await blobs.write("a", b"b")
        with pytest.raises(Temporary, match="the bucket does not exist"):
            await blobs.delete_command_outputs(FAR_FUTURE)
        assert "the bucket does not exist" in await blobs.problem()
        create_bucket(aws)
        assert await blobs.problem() == ""


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "refuses the credentials, or they lack a permission"), (400, r"refuses the request \(HTTP 400\)")],
)
async def test_a_refusal_of_the_bucket_has_a_reason(tmp_path: Path, status: int, reason: str) -> None:
    with reply_server() as server:
        server.status = status
        blobs = open_test_blobs(tmp_path, type="S3", config=s3_config(tmp_path, server.url))
        for request in (blobs.read("a"), blobs.write("a", b"b"), blobs.delete_command_outputs(FAR_FUTURE)):
            with pytest.raises(Temporary, match=reason):
                await request


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\netag: e\r\n\r\nhalf"])
@pytest.mark.parametrize("kind", ["S3", "MINIO", "GCS"])
async def test_a_bucket_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, kind: str, sent: bytes
) -> None:
    """Also if it stops in the middle of an answer. The test does not end if one request has no limit."""
    hanging = set[asyncio.StreamWriter]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hanging.add(writer)
        writer.write(sent)
        await reader.read()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = gcs_config(tmp_path, url) if kind == "GCS" else s3_config(tmp_path, url)
    if kind == "MINIO":
        del config["region"]
    quick = ObjectStoreSettings(request_timeout=0.2, retry_timeout=0.1)
    blobs = open_test_blobs(tmp_path, quick, type=kind, config=config)
    requests = [blobs.read("a"), blobs.delete_command_outputs(FAR_FUTURE)]
    for request in (*requests, *((blobs.write("a", b"b"),) if not sent else ())):
        with pytest.raises(Temporary, match="it is unreachable or not writable"):
            await request
    assert hanging
    for writer in hanging:
        writer.close()
    server.close()


@pytest.mark.parametrize("kind", ["S3", "GCS"])
async def test_a_bucket_that_fails_is_not_asked_again_for_longer_than_a_call_may_take(
    tmp_path: Path, kind: str
) -> None:
    with reply_server() as server:
        server.status = 503
        config = gcs_config(tmp_path, server.url) if kind == "GCS" else s3_config(tmp_path, server.url)
        # The library would ask ten times, for a minute or so, and then say what the bucket has answered.
        patient = ObjectStoreSettings(request_timeout=600, retry_timeout=600, call_timeout=0.2)
        blobs = open_test_blobs(tmp_path, patient, type=kind, config=config)
        for call in (blobs.read("a"), blobs.write("a", b"b"), blobs.delete("a")):
            with pytest.raises(Temporary, match="it does not answer in time"):
                await call


async def test_an_existing_bucket_is_used(tmp_path: Path) -> None:
    with emulated_aws() as aws:
        config = {**s3_config(tmp_path, aws.url), "autoCreateBucket": True}
        await open_test_blobs(tmp_path, type="MINIO", config=config).write("a", b"b")
        assert await open_test_blobs(tmp_path, type="MINIO", config=config).read("a") == b"b"


async def test_a_failed_bucket_creation_is_reported(tmp_path: Path) -> None:
    config = {**s3_config(tmp_path, "http://127.0.0.1:9"), "autoCreateBucket": True}
    with pytest.raises(Temporary, match=r"endpoint: \S+ does not respond"):
        open_test_blobs(tmp_path, type="MINIO", config=config)
    with reply_server() as server:
        config["endpoint"] = server.url
        server.status = 403
        with pytest.raises(ConfigError, match=r"bucket objects cannot be created \(HTTP 403\)"):
            open_test_blobs(tmp_path, type="MINIO", config=config)


async def test_the_bucket_creation_request_matches_its_signature(tmp_path: Path) -> None:
    """The emulator accepts any signature, so the test computes the expected one itself."""
    with reply_server() as server:
        server.status = 200
        open_test_blobs(
            tmp_path, type="MINIO", config={**s3_config(tmp_path, server.url), "autoCreateBucket": True}
        )
        (asked,) = server.requests
    method, _, target = asked.partition(" ")
    path, _, query = target.partition("?")
    signed = dict(parse_qsl(query))
    signature = signed.pop("X-Amz-Signature")
    request = AWSRequest(method, f"{server.url}{path}?{urlencode(signed)}")
    request.context["timestamp"] = signed["X-Amz-Date"]
    signer = S3SigV4QueryAuth(Credentials("tester", "tester"), "s3", "us-east-1")
    string_to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    assert signer.signature(string_to_sign, request) == signature


async def test_keys_can_be_read_from_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\n[shop]\naws_access_key_id = a\naws_secret_access_key = hush-hush\n")
    with emulated_aws() as aws:
        create_bucket(aws)
        config = {"bucket": "objects", "region": REGION, "endpoint": aws.url, "credentialsFile": str(file)}
        blobs = open_test_blobs(tmp_path, type="S3", config={**config, "profile": "shop"})
        await blobs.write("a", b"b")
        assert await blobs.read("a") == b"b"
        with pytest.raises(ConfigError, match="has no profile default with aws_access_key_id"):
            open_test_blobs(tmp_path, type="S3", config=config)
    file.write_text("hush-hush")
    with pytest.raises(ConfigError) as refused:
        open_test_blobs(tmp_path, type="S3", config=config)
    assert "hush-hush" not in str(refused.value)


async def test_a_web_identity_token_authenticates_for_a_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first request is checked: it uses HTTPS, which the emulator does not support."""
    (tmp_path / "token").write_text("a.b.c")
    role = {"roleARN": "arn:aws:iam::123456789012:role/objects", "tokenFile": str(tmp_path / "token")}
    with (
        emulated_aws() as aws,
        credential_chain(monkeypatch, {"AWS_ENDPOINT_URL_STS": "https://127.0.0.1:9"}),
    ):
        create_bucket(aws)
        config = {"bucket": "objects", "region": REGION, "endpoint": aws.url, **role}
        with pytest.raises(Temporary) as unavailable:
            await open_test_blobs(tmp_path, type="S3", config=config).write("a", b"b")
        assert "POST" in str(unavailable.value.__cause__), "writing an object would be a PUT"


async def test_an_invalid_service_account_is_reported_without_its_contents(tmp_path: Path) -> None:
    config = gcs_config(tmp_path, "http://127.0.0.1:9")
    (tmp_path / "account.json").write_text('{"private_key": "hush-hush"}')
    with pytest.raises(ConfigError, match="GCS cannot be opened") as refused:
        open_test_blobs(tmp_path, type="GCS", config=config)
    assert "hush-hush" not in str(refused.value)
