"""Where a configuration may be kept, what is accepted there, and what is said when it cannot be had."""

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

from pipecd.config.sources import chosen, read
from pipecd.config.sources.text import of_secret
from pipecd.errors import ConfigError, PipecdError, Temporary
from tests.aws import REGION, Aws, chain, emulated_aws
from tests.replies import Replies, replying

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
def replies() -> Iterator[Replies]:
    with replying() as known:
        yield known


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    with emulated_aws() as aws:
        yield aws


@pytest.fixture
def aws(server: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with chain(monkeypatch, {**server.environment(), "AWS_REGION": REGION}):
        yield server


def secret(aws: Aws, name: str, **value: Any) -> str:
    answer = aws.client("secretsmanager").create_secret(Name=name, **value)
    return str(answer["ARN"])


async def sentence(flag: str, value: str) -> str:
    """What a person is told; fails when a byte of the secret comes along."""
    with pytest.raises(ConfigError) as caught:
        await read({flag: value})
    return quiet(caught.value)


def quiet(error: PipecdError) -> str:
    for told in (str(error), "".join(traceback.format_exception(error))):
        assert CANARY not in told
        assert CANARY[:8] not in told
        assert base64.b64encode(CANARY.encode()).decode()[:8] not in told
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"SecretString": ENCODED}, id="base64, as PipeCD stores it"),
        pytest.param({"SecretString": WRAPPED}, id="base64 in lines of 76"),
        pytest.param({"SecretString": YAML}, id="the file as it is"),
        pytest.param({"SecretBinary": ENCODED.encode()}, id="binary that is base64"),
        pytest.param({"SecretBinary": YAML.encode()}, id="binary that is the file"),
    ],
)
async def test_a_secret_of_aws_holds_the_configuration(
    aws: Aws, value: Any, request: pytest.FixtureRequest
) -> None:
    arn = secret(aws, f"config-{abs(hash(request.node.name))}", **value)
    assert (await read({"--config-aws-secret": arn})).text == YAML


async def test_a_secret_is_also_found_by_its_name(aws: Aws) -> None:
    secret(aws, "by-name", SecretString=ENCODED)
    assert (await read({"--config-aws-secret": "by-name"})).text == YAML


async def test_an_arn_names_its_region_itself(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = secret(aws, "elsewhere", SecretString=ENCODED)
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert (await read({"--config-aws-secret": arn})).text == YAML
    monkeypatch.delenv("AWS_REGION")
    assert (await read({"--config-aws-secret": arn})).text == YAML
    assert "no AWS region is known" in await sentence("--config-aws-secret", "elsewhere")


async def test_a_new_value_is_seen_at_the_next_read(aws: Aws) -> None:
    arn = secret(aws, "renewed", SecretString=ENCODED)
    source = chosen({"--config-aws-secret": arn})
    assert (await source.read()).text == YAML
    aws.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=YAML + "# again\n")
    assert (await source.read()).text == YAML + "# again\n"


@pytest.mark.parametrize("kind", ["SecureString", "String"])
@pytest.mark.parametrize("value", [ENCODED, YAML], ids=["base64", "as it is"])
async def test_a_parameter_of_systems_manager_holds_the_configuration(
    aws: Aws, kind: str, value: str
) -> None:
    name = f"/piped/{kind}/{len(value)}"
    aws.client("ssm").put_parameter(Name=name, Value=value, Type=kind)
    assert (await read({"--config-aws-ssm-parameter": name})).text == YAML


async def test_what_is_missing_in_aws_is_said_with_the_place_to_look(aws: Aws) -> None:
    told = await sentence("--config-aws-secret", "nobody-made-it")
    assert told.startswith(f"AWS secret nobody-made-it does not exist in {REGION}; create it")
    told = await sentence("--config-aws-ssm-parameter", "/nobody/made/it")
    assert told.startswith(f"AWS parameter /nobody/made/it does not exist in {REGION}; create it")
    empty = aws.client("secretsmanager").create_secret(Name="without-value")["ARN"]
    assert "has no value yet" in await sentence("--config-aws-secret", empty)
    gone = secret(aws, "deleted", SecretString=ENCODED)
    aws.client("secretsmanager").delete_secret(SecretId=gone)
    assert "is marked for deletion; restore it" in await sentence("--config-aws-secret", gone)


async def test_a_role_that_may_not_read_learns_which_action_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with emulated_aws() as aws:
        arn = secret(aws, "locked", SecretString=ENCODED)
        iam = aws.client("iam")
        iam.create_user(UserName="agent")
        key = iam.create_access_key(UserName="agent")["AccessKey"]
        aws.enforce_policies()
        keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        with chain(monkeypatch, {**aws.environment(), **keys, "AWS_REGION": REGION}):
            told = await sentence("--config-aws-secret", arn)
            assert told.endswith(
                "may not be read by this role; allow secretsmanager:GetSecretValue on it to the role"
            )
            assert "allow ssm:GetParameter" in await sentence("--config-aws-ssm-parameter", "/piped")


async def test_the_role_of_a_container_is_enough(
    aws: Aws, replies: Replies, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = secret(aws, "for-the-container", SecretString=ENCODED)
    replies.put(
        "/role",
        {
            "AccessKeyId": "tester",
            "SecretAccessKey": "tester",
            "Token": "session",
            "Expiration": "2099-01-01T00:00:00Z",
        },
    )
    where = {"AWS_ENDPOINT_URL": aws.url, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{replies.url}/role"}
    with chain(monkeypatch, where):
        assert (await read({"--config-aws-secret": arn})).text == YAML
    assert replies.asked == ["GET /role"]


async def test_no_credentials_at_all_is_said(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = secret(aws, "unreachable", SecretString=ENCODED)
    with chain(monkeypatch, {"AWS_ENDPOINT_URL": aws.url, "AWS_EC2_METADATA_DISABLED": "true"}):
        assert "there are no AWS credentials; give the container" in await sentence(
            "--config-aws-secret", arn
        )


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ExpiredTokenException", "The security token is expired", "the AWS credentials have expired; renew"),
        ("UnrecognizedClientException", "The security token is invalid", "AWS does not know the credentials"),
        ("AccessDeniedException", CANARY, "allow secretsmanager:GetSecretValue on it to the role"),
        ("InvalidSignatureException", f"canonical {CANARY}", "check the key pair and the clock"),
        ("AccessDeniedException", "Access to KMS is not allowed", "cannot be decrypted; allow kms:Decrypt"),
        ("DecryptionFailure", "", "cannot be decrypted; allow kms:Decrypt on its key to the role"),
        ("SomethingNew", CANARY, "cannot be read (SomethingNew); check the flag's value"),
    ],
)
async def test_refusals_that_the_emulator_does_not_know(
    replies: Replies, monkeypatch: pytest.MonkeyPatch, code: str, message: str, expected: str
) -> None:
    replies.put("/", {"__type": code, "message": message}, status=400)
    where = {"AWS_ENDPOINT_URL": replies.url, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    with chain(monkeypatch, {**where, "AWS_REGION": REGION}):
        assert expected in await sentence("--config-aws-secret", "piped")


async def test_an_outage_of_aws_will_pass(replies: Replies, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": REGION}
    with chain(monkeypatch, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", **keys}), pytest.raises(Temporary):
        await read({"--config-aws-secret": "piped"})
    replies.put("/", {"__type": "InternalServiceError"}, status=500)
    with chain(monkeypatch, {"AWS_ENDPOINT_URL": replies.url, **keys}), pytest.raises(Temporary):
        await read({"--config-aws-secret": "piped"})


GCP = "projects/shop/secrets/piped/versions/latest"


@pytest.fixture
def gcp(replies: Replies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replies:
    """Google's API and its log-in on one small server, with a service account whose key we made."""
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
    replies.put("/token", {"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"})
    return replies


@pytest.mark.parametrize("value", [YAML, ENCODED], ids=["as it is", "base64"])
async def test_a_secret_of_google_holds_the_configuration(gcp: Replies, value: str) -> None:
    data = base64.b64encode(value.encode()).decode()
    gcp.put(f"/v1/{GCP}:access", {"name": GCP, "payload": {"data": data}})
    source = chosen({"--config-gcp-secret": GCP})
    assert (await source.read()).text == YAML
    assert (await source.read()).text == YAML
    assert gcp.asked == ["POST /token", f"GET /v1/{GCP}:access", f"GET /v1/{GCP}:access"]
    assert gcp.authorization == "Bearer granted"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, "does not exist; create it and add a version"),
        (403, "may not be read by this account; grant it roles/secretmanager.secretAccessor"),
        (401, "the credentials have expired"),
        (400, "this version is disabled or destroyed; name another version"),
    ],
)
async def test_what_google_refuses_is_said(gcp: Replies, status: int, expected: str) -> None:
    gcp.put(f"/v1/{GCP}:access", {"error": {"message": CANARY}}, status=status)
    assert expected in await sentence("--config-gcp-secret", GCP)


async def test_google_refuses_the_log_in(gcp: Replies) -> None:
    gcp.put("/token", {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, status=400)
    assert "the Google credentials are refused or have expired" in await sentence("--config-gcp-secret", GCP)


async def test_a_google_secret_is_named_with_its_version(gcp: Replies) -> None:
    told = await sentence("--config-gcp-secret", "projects/shop/secrets/piped")
    assert told.endswith("write projects/PROJECT/secrets/SECRET/versions/latest")
    assert gcp.asked == []


async def test_an_outage_of_google_will_pass(gcp: Replies) -> None:
    gcp.put(f"/v1/{GCP}:access", {}, status=503)
    with pytest.raises(Temporary):
        await read({"--config-gcp-secret": GCP})


NOT_A_CONFIGURATION = [
    pytest.param(b"", "is empty", id="nothing"),
    pytest.param(b"\n\n", "is empty", id="blank lines"),
    pytest.param(CANARY.encode() + b"!", "holds neither YAML nor base64", id="a password"),
    pytest.param(ENCODED[:-1].encode(), "holds neither YAML nor base64", id="base64 without its padding"),
    pytest.param(b" " + ENCODED.encode(), "holds neither YAML nor base64", id="base64 with a blank"),
    pytest.param(
        base64.b64encode(ENCODED.encode()), "base64 of something that is base64 once more", id="base64 twice"
    ),
    pytest.param(base64.b64encode(b"\xff\xfe" + CANARY.encode()), "is not text", id="base64 of bytes"),
    pytest.param(f"a: [{CANARY}".encode(), "is not YAML (line ", id="a bracket left open"),
    pytest.param(f"kind: Piped\n{CANARY}: a: b".encode(), "is not YAML (line 2)", id="not YAML in line 2"),
    pytest.param(f"kind: \x07{CANARY}".encode(), "is not YAML", id="a control character"),
    pytest.param(
        json.dumps({"config": CANARY}).encode(), "has neither apiVersion nor kind", id="key and value"
    ),
    pytest.param(f"- kind: {CANARY}".encode(), "is not a YAML mapping", id="a list"),
]


@pytest.mark.parametrize(("value", "expected"), NOT_A_CONFIGURATION)
def test_what_is_no_configuration_is_named_without_a_byte_of_it(value: bytes, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of_secret(value, "AWS secret piped")
    told = quiet(caught.value)
    assert told.startswith("AWS secret piped ")
    assert expected in told
    assert told.endswith("; store the agent's configuration file there, as it is or as base64 of it")


async def test_the_command_line_takes_base64_and_nothing_else() -> None:
    assert (await read({"--config-data": WRAPPED})).text == YAML
    for wrong in (YAML, ENCODED[:-1], ENCODED + " ", ENCODED.replace("\n", "-") + "_"):
        assert "--config-data is not base64 of a YAML file" in await sentence("--config-data", wrong)


async def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "piped.yaml"
    assert "cannot be read: No such file" in await sentence("--config-file", str(file))
    file.write_bytes(b"\xff" + YAML.encode())
    assert "is not text" in await sentence("--config-file", str(file))
    file.write_text(YAML)
    assert (await read({"--config-file": str(file), "--config-data": ""})).text == YAML


def test_exactly_one_source_is_given() -> None:
    with pytest.raises(ConfigError, match="no configuration is given; give exactly one of --config-file, "):
        chosen({"--config-file": "", "--config-data": ""})
    with pytest.raises(ConfigError, match="--config-file and --config-aws-secret are both given"):
        chosen({"--config-file": "a", "--config-aws-secret": "b"})


@pytest.mark.parametrize(
    ("absent", "flag", "value", "extra"),
    [
        ("botocore", "--config-aws-secret", "piped", "aws"),
        ("botocore", "--config-aws-ssm-parameter", "/piped", "aws"),
        ("google.auth", "--config-gcp-secret", GCP, "gcp"),
    ],
)
def test_an_sdk_that_is_not_installed_is_named(absent: str, flag: str, value: str, extra: str) -> None:
    """In a process of its own, whose import of the SDK fails as if it were not there."""
    program = (
        f"import sys; sys.modules[{absent!r}] = None; sys.argv = ['piped', 'piped', {flag!r}, {value!r}];"
        "from pipecd.__main__ import piped; piped()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env={**os.environ}
    )
    assert ended.returncode == 1
    assert ended.stderr.endswith(f'is not installed; install it: pip install "pipecd[{extra}]"\n')
    assert ended.stderr.count("\n") == 1
