"""Configuration sources: where a configuration can be stored, accepted formats, and error messages."""

import base64
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipecd.config.sources import choose_source, read
from pipecd.config.sources.text import parse_secret
from pipecd.errors import ConfigError, PipecdError, Temporary
from tests.aws import REGION, Aws, credential_chain, emulated_aws
from tests.replies import ReplyServer, reply_server

CANARY = "q7wV2pXcanary9ZkT"
YAML = f"""apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: shop
  pipedKeyData: {CANARY}
"""
ENCODED = base64.b64encode(YAML.encode()).decode()
WRAPPED = base64.encodebytes(YAML.encode()).decode().replace("\n", "\r\n")


@pytest.fixture
def replies() -> Iterator[ReplyServer]:
    with reply_server() as server:
        yield server


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with (
        emulated_aws() as aws,
        credential_chain(monkeypatch, {**aws.environment(), "AWS_REGION": REGION}),
    ):
        yield aws


def create_secret(aws: Aws, name: str, **value: Any) -> str:
    response = aws.client("secretsmanager").create_secret(Name=name, **value)
    return str(response["ARN"])


async def read_error(flag: str, value: str) -> str:
    """The error message of a failed read; fails if it contains part of the secret."""
    with pytest.raises(ConfigError) as caught:
        await read({flag: value})
    return checked_message(caught.value)


def checked_message(error: PipecdError) -> str:
    for text in (str(error), "".join(traceback.format_exception(error))):
        assert CANARY not in text
        assert CANARY[:8] not in text
        assert base64.b64encode(CANARY.encode()).decode()[:8] not in text
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"SecretString": ENCODED}, id="base64, as PipeCD stores it"),
        pytest.param({"SecretString": WRAPPED}, id="base64 in lines of 76 characters"),
        pytest.param({"SecretString": YAML}, id="the file as it is"),
        pytest.param({"SecretBinary": ENCODED.encode()}, id="binary that is base64"),
        pytest.param({"SecretBinary": YAML.encode()}, id="binary that is the file"),
    ],
)
async def test_a_configuration_is_read_from_an_aws_secret(
    aws: Aws, value: Any, request: pytest.FixtureRequest
) -> None:
    arn = create_secret(aws, f"config-{abs(hash(request.node.name))}", **value)
    assert (await read({"--config-aws-secret": arn})).text == YAML


async def test_an_aws_secret_is_found_by_its_name(aws: Aws) -> None:
    create_secret(aws, "by-name", SecretString=ENCODED)
    assert (await read({"--config-aws-secret": "by-name"})).text == YAML


async def test_the_region_of_an_arn_takes_precedence(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = create_secret(aws, "elsewhere", SecretString=ENCODED)
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert (await read({"--config-aws-secret": arn})).text == YAML
    monkeypatch.delenv("AWS_REGION")
    assert (await read({"--config-aws-secret": arn})).text == YAML
    assert "no AWS region is configured" in await read_error("--config-aws-secret", "elsewhere")


async def test_the_next_read_returns_a_new_value(aws: Aws) -> None:
    arn = create_secret(aws, "renewed", SecretString=ENCODED)
    source = choose_source({"--config-aws-secret": arn})
    assert (await source.read()).text == YAML
    aws.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=YAML + "# again\n")
    assert (await source.read()).text == YAML + "# again\n"


@pytest.mark.parametrize("kind", ["SecureString", "String"])
@pytest.mark.parametrize("value", [ENCODED, YAML], ids=["base64", "as it is"])
async def test_a_configuration_is_read_from_a_systems_manager_parameter(
    aws: Aws, kind: str, value: str
) -> None:
    name = f"/piped/{kind}/{len(value)}"
    aws.client("ssm").put_parameter(Name=name, Value=value, Type=kind)
    assert (await read({"--config-aws-ssm-parameter": name})).text == YAML


async def test_an_error_for_a_missing_value_in_aws_names_the_region(aws: Aws) -> None:
    message = await read_error("--config-aws-secret", "missing")
    assert message.startswith(f"AWS secret missing does not exist in {REGION}; create it")
    message = await read_error("--config-aws-ssm-parameter", "/missing/parameter")
    assert message.startswith(f"AWS parameter /missing/parameter does not exist in {REGION}; create it")
    empty = aws.client("secretsmanager").create_secret(Name="without-value")["ARN"]
    assert "has no value yet" in await read_error("--config-aws-secret", empty)
    deleted = create_secret(aws, "deleted", SecretString=ENCODED)
    aws.client("secretsmanager").delete_secret(SecretId=deleted)
    assert "is marked for deletion; restore it" in await read_error("--config-aws-secret", deleted)


async def test_an_access_error_names_the_missing_action(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with emulated_aws() as aws:
        arn = create_secret(aws, "locked", SecretString=ENCODED)
        iam = aws.client("iam")
        iam.create_user(UserName="agent")
        key = iam.create_access_key(UserName="agent")["AccessKey"]
        aws.enforce_policies()
        keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        with credential_chain(monkeypatch, {**aws.environment(), **keys, "AWS_REGION": REGION}):
            message = await read_error("--config-aws-secret", arn)
            assert message.endswith(
                "cannot be read by this role; grant the role secretsmanager:GetSecretValue on it"
            )
            assert "grant the role ssm:GetParameter" in await read_error(
                "--config-aws-ssm-parameter", "/piped"
            )


async def test_the_role_of_a_container_provides_credentials(
    aws: Aws, replies: ReplyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = create_secret(aws, "for-the-container", SecretString=ENCODED)
    replies.set_response(
        "/role",
        {
            "AccessKeyId": "tester",
            "SecretAccessKey": "tester",
            "Token": "session",
            "Expiration": "2099-01-01T00:00:00Z",
        },
    )
    environment = {"AWS_ENDPOINT_URL": aws.url, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{replies.url}/role"}
    with credential_chain(monkeypatch, environment):
        assert (await read({"--config-aws-secret": arn})).text == YAML
    assert replies.requests == ["GET /role"]


async def test_missing_aws_credentials_are_reported(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = create_secret(aws, "unreachable", SecretString=ENCODED)
    with credential_chain(monkeypatch, {"AWS_ENDPOINT_URL": aws.url, "AWS_EC2_METADATA_DISABLED": "true"}):
        assert "there are no AWS credentials; assign a role to the container" in await read_error(
            "--config-aws-secret", arn
        )


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ExpiredTokenException", "The security token is expired", "the AWS credentials have expired; renew"),
        ("UnrecognizedClientException", "The security token is invalid", "AWS does not know the credentials"),
        ("AccessDeniedException", CANARY, "grant the role secretsmanager:GetSecretValue on it"),
        ("InvalidSignatureException", f"canonical {CANARY}", "check the access key and the clock"),
        (
            "AccessDeniedException",
            "Access to KMS is not allowed",
            "cannot be decrypted; grant the role kms:Decrypt",
        ),
        ("DecryptionFailure", "", "cannot be decrypted; grant the role kms:Decrypt on its key"),
        ("SomethingNew", CANARY, "cannot be read (SomethingNew); check the flag's value"),
    ],
)
async def test_errors_that_the_emulator_does_not_raise(
    replies: ReplyServer, monkeypatch: pytest.MonkeyPatch, code: str, message: str, expected: str
) -> None:
    replies.set_response("/", {"__type": code, "message": message}, status=400)
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    with credential_chain(monkeypatch, {"AWS_ENDPOINT_URL": replies.url, **keys, "AWS_REGION": REGION}):
        assert expected in await read_error("--config-aws-secret", "piped")


async def test_an_outage_of_aws_is_a_temporary_error(
    replies: ReplyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": REGION}
    with (
        credential_chain(monkeypatch, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", **keys}),
        pytest.raises(Temporary),
    ):
        await read({"--config-aws-secret": "piped"})
    replies.set_response("/", {"__type": "InternalServiceError"}, status=500)
    with credential_chain(monkeypatch, {"AWS_ENDPOINT_URL": replies.url, **keys}), pytest.raises(Temporary):
        await read({"--config-aws-secret": "piped"})


GCP = "projects/shop/secrets/piped/versions/latest"


@pytest.fixture
def gcp(replies: ReplyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReplyServer:
    """A fake of Google's API and authentication server, with a generated service account key."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "client_email": "piped@shop.iam.gserviceaccount.com",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": f"{replies.url}/token",
        "project_id": "shop",
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", f"{replies.url}/")
    replies.set_response("/token", {"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"})
    return replies


@pytest.mark.parametrize("value", [YAML, ENCODED], ids=["as it is", "base64"])
async def test_a_configuration_is_read_from_a_google_secret(gcp: ReplyServer, value: str) -> None:
    data = base64.b64encode(value.encode()).decode()
    gcp.set_response(f"/v1/{GCP}:access", {"name": GCP, "payload": {"data": data}})
    source = choose_source({"--config-gcp-secret": GCP})
    assert (await source.read()).text == YAML
    assert (await source.read()).text == YAML
    assert gcp.requests == ["POST /token", f"GET /v1/{GCP}:access", f"GET /v1/{GCP}:access"]
    assert gcp.authorization == "Bearer granted"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, "does not exist; create it and add a version"),
        (403, "cannot be read by this account; grant it roles/secretmanager.secretAccessor"),
        (401, "the credentials have expired"),
        (400, "this version is disabled or destroyed; specify another version"),
    ],
)
async def test_an_error_of_google_is_described(gcp: ReplyServer, status: int, expected: str) -> None:
    gcp.set_response(f"/v1/{GCP}:access", {"error": {"message": CANARY}}, status=status)
    assert expected in await read_error("--config-gcp-secret", GCP)


async def test_rejected_google_credentials_are_reported(gcp: ReplyServer) -> None:
    gcp.set_response(
        "/token", {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, status=400
    )
    assert "the Google credentials were rejected or have expired" in await read_error(
        "--config-gcp-secret", GCP
    )


async def test_a_google_secret_requires_a_version(gcp: ReplyServer) -> None:
    message = await read_error("--config-gcp-secret", "projects/shop/secrets/piped")
    assert message.endswith("write projects/PROJECT/secrets/SECRET/versions/latest")
    assert gcp.requests == []


async def test_an_outage_of_google_is_a_temporary_error(gcp: ReplyServer) -> None:
    gcp.set_response(f"/v1/{GCP}:access", {}, status=503)
    with pytest.raises(Temporary):
        await read({"--config-gcp-secret": GCP})


NOT_A_CONFIGURATION = [
    pytest.param(b"", "is empty", id="nothing"),
    pytest.param(b"\n\n", "is empty", id="blank lines"),
    pytest.param(CANARY.encode() + b"!", "contains neither YAML nor base64", id="a password"),
    pytest.param(ENCODED[:-1].encode(), "contains neither YAML nor base64", id="base64 without its padding"),
    pytest.param(b" " + ENCODED.encode(), "contains neither YAML nor base64", id="base64 with a blank"),
    pytest.param(
        base64.b64encode(ENCODED.encode()),
        "base64-encoded data that is base64-encoded twice",
        id="base64 twice",
    ),
    pytest.param(base64.b64encode(b"\xff\xfe" + CANARY.encode()), "is not text", id="base64 of bytes"),
    pytest.param(f"a: [{CANARY}".encode(), "is not YAML (line ", id="an unclosed bracket"),
    pytest.param(f"kind: Piped\n{CANARY}: a: b".encode(), "is not YAML (line 2)", id="not YAML in line 2"),
    pytest.param(f"kind: \x07{CANARY}".encode(), "is not YAML", id="a control character"),
    pytest.param(
        json.dumps({"config": CANARY}).encode(), "has neither apiVersion nor kind", id="key and value"
    ),
    pytest.param(f"- kind: {CANARY}".encode(), "is not a YAML mapping", id="a list"),
]


@pytest.mark.parametrize(("value", "expected"), NOT_A_CONFIGURATION)
def test_the_error_for_an_invalid_configuration_contains_none_of_it(value: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_secret(value, "AWS secret piped")
    message = checked_message(caught.value)
    assert message.startswith("AWS secret piped ")
    assert expected in message
    assert message.endswith("; store the agent's configuration file there, as it is or base64-encoded")


async def test_config_data_accepts_only_base64() -> None:
    assert (await read({"--config-data": WRAPPED})).text == YAML
    for invalid in (YAML, ENCODED[:-1], ENCODED + " ", ENCODED.replace("\n", "-") + "_"):
        message = await read_error("--config-data", invalid)
        assert "--config-data is not a base64-encoded YAML file" in message


async def test_config_file_is_read_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "piped.yaml"
    assert "cannot be read: No such file" in await read_error("--config-file", str(file))
    file.write_bytes(b"\xff" + YAML.encode())
    assert "is not text" in await read_error("--config-file", str(file))
    file.write_text(YAML)
    assert (await read({"--config-file": str(file), "--config-data": ""})).text == YAML


def test_exactly_one_source_is_given() -> None:
    with pytest.raises(ConfigError, match="no configuration is given; give exactly one of --config-file, "):
        choose_source({"--config-file": "", "--config-data": ""})
    with pytest.raises(ConfigError, match="--config-file and --config-aws-secret are both given"):
        choose_source({"--config-file": "a", "--config-aws-secret": "b"})


@pytest.mark.parametrize(
    ("absent", "flag", "value", "extra"),
    [
        ("botocore", "--config-aws-secret", "piped", "aws"),
        ("google.auth", "--config-gcp-secret", GCP, "gcp"),
    ],
)
def test_a_missing_sdk_is_named_in_the_error(absent: str, flag: str, value: str, extra: str) -> None:
    """Runs in a separate process in which the SDK cannot be imported."""
    program = (
        f"import sys; sys.modules[{absent!r}] = None; sys.argv = ['piped', 'piped', {flag!r}, {value!r}];"
        "from pipecd.__main__ import piped; piped()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env={**os.environ}
    )
    assert result.returncode == 1
    assert result.stderr.endswith(f'is not installed; install it: pip install "pipecd[{extra}]"\n')
    assert result.stderr.count("\n") == 1


async def test_a_missing_sdk_is_named_for_a_parameter_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    message = await read_error("--config-aws-ssm-parameter", "/piped")
    assert message.endswith('the AWS SDK is not installed; install it: pip install "pipecd[aws]"')
