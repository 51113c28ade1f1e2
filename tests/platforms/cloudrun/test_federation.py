"""Workload identity federation from AWS to Google, against imitations of AWS's and Google's endpoints.

Google's endpoint checks the request that AWS would get from it as AWS does: by computing its signature.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pipecd.errors import ConfigError, Temporary
from pipecd.google_credentials import GoogleCredentials

AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws/providers/aws"
IMPERSONATE = "/v1/projects/-/serviceAccounts/piped@demo.iam.gserviceaccount.com:generateAccessToken"
TASK = {
    "AccessKeyId": "ASIATASK",
    "SecretAccessKey": "swordfish",
    "Token": "session-of-the-task",
    "Expiration": "2099-01-01T00:00:00Z",
}


@dataclass
class Clouds:
    """`/role` is the credentials endpoint of a container, `/latest` the metadata of an instance."""

    url: str = ""
    #: What Google's Security Token Service answers, if not a token.
    rejection: tuple[int, Any] | None = None
    #: What the service account answers to the federated identity, if not a token.
    denied: tuple[int, Any] | None = None
    #: The identities that were accepted: access key, and region of the signature.
    accepted: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: str) -> tuple[int, Any]:
        match path:
            case "/role" if headers.get("Authorization") == "of the container":
                return 200, TASK
            case "/latest/api/token" if method == "PUT":
                return 200, "v2"
            case "/latest/meta-data/iam/security-credentials":
                return 200, "instance-role"
            case "/latest/meta-data/iam/security-credentials/instance-role":
                return 200, {**TASK, "AccessKeyId": "ASIAINSTANCE"}
            case "/latest/meta-data/placement/availability-zone":
                return 200, "eu-west-1b"
            case "/token":
                return self.rejection or self._exchange(parse_qs(body))
            case _ if path == IMPERSONATE and headers.get("authorization") == "Bearer federated":
                return self.denied or (
                    200,
                    {"accessToken": "granted", "expireTime": "2099-01-01T00:00:00Z"},
                )
        return 404, {"error": path}

    def _exchange(self, form: Mapping[str, list[str]]) -> tuple[int, Any]:
        assert form["audience"] == [AUDIENCE]
        signed = json.loads(unquote(form["subject_token"][0]))
        headers = {header["key"].lower(): header["value"] for header in signed["headers"]}
        assert headers["x-goog-cloud-target-resource"] == AUDIENCE
        key, _, region, service, _ = headers["authorization"].split("Credential=")[1].split(",")[0].split("/")
        assert (
            signed["url"] == f"https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
        )
        if headers["authorization"] != _signature(signed, headers, key, region, service):
            return 400, {"error": "invalid_grant", "error_description": "Received invalid AWS response"}
        self.accepted.append((key, region))
        return 200, {
            "access_token": "federated",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 3600,
        }


def _signature(signed: Any, headers: Mapping[str, str], key: str, region: str, service: str) -> str:
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    request = AWSRequest(
        method=signed["method"], url=signed["url"], headers={name: headers[name] for name in names}
    )
    request.context["timestamp"] = headers["x-amz-date"]
    secret = {"ASIATASK": "swordfish", "ASIAINSTANCE": "swordfish", "AKIAUSER": "of-the-user"}[key]
    signer = SigV4Auth(Credentials(key, secret), service, region)
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    scope = f"{key}/{headers['x-amz-date'][:8]}/{region}/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(names)}, Signature={signature}"


@contextmanager
def serve(clouds: Clouds) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, answer = clouds.answer(self.command, self.path, self.headers, body)  # type: ignore[arg-type]
            content = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content.encode())

        do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Logs nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        clouds.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield
        server.shutdown()


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Clouds]:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    clouds = Clouds()
    with serve(clouds):
        yield clouds


@pytest.fixture
def container(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Fargate and App Runner."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{clouds.url}/role")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of the container")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


def federation(folder: Path, clouds: Clouds) -> str:
    """As written by `gcloud iam workload-identity-pools create-cred-config --aws`."""
    configuration = {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "token_url": f"{clouds.url}/token",
        "service_account_impersonation_url": f"{clouds.url}{IMPERSONATE}",
        "credential_source": {
            "environment_id": "aws1",
            "region_url": f"{clouds.url}/latest/meta-data/placement/availability-zone",
            "url": f"{clouds.url}/latest/meta-data/iam/security-credentials",
            "imdsv2_session_token_url": f"{clouds.url}/latest/api/token",
            "regional_cred_verification_url": (
                "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
            ),
        },
    }
    file = folder / "federation.json"
    file.write_text(json.dumps(configuration))
    return str(file)


def headers(file: str) -> Mapping[str, str]:
    return GoogleCredentials("Cloud Run cannot be used", file).headers()


@pytest.mark.usefixtures("container")
def test_the_role_of_a_container_is_exchanged(clouds: Clouds, tmp_path: Path) -> None:
    assert headers(federation(tmp_path, clouds))["authorization"] == "Bearer granted"
    assert clouds.accepted == [("ASIATASK", "eu-central-1")]


@pytest.mark.usefixtures("container")
def test_the_default_file_may_be_a_federation(
    clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", federation(tmp_path, clouds))
    assert headers("")["authorization"] == "Bearer granted"


def test_the_role_of_an_instance_is_exchanged(clouds: Clouds, tmp_path: Path) -> None:
    assert headers(federation(tmp_path, clouds))["authorization"] == "Bearer granted"
    assert clouds.accepted == [("ASIAINSTANCE", "eu-west-1")]


def test_credentials_of_variables_are_exchanged(
    clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUSER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-user")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert headers(federation(tmp_path, clouds))["authorization"] == "Bearer granted"
    assert clouds.accepted == [("AKIAUSER", "us-east-1")]


@pytest.mark.usefixtures("container")
def test_an_unknown_region_is_named(clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ConfigError, match=r"the AWS region is unknown.*AWS_REGION"):
        headers(federation(tmp_path, clouds))


@pytest.mark.usefixtures("container")
def test_a_pool_that_does_not_accept_the_role(clouds: Clouds, tmp_path: Path) -> None:
    text = "The given credential is rejected by the attribute condition."
    clouds.rejection = (403, {"error": "unauthorized_client", "error_description": text})
    with pytest.raises(ConfigError) as error:
        headers(federation(tmp_path, clouds))
    assert text in str(error.value) and "attribute condition of the pool's provider" in str(error.value)
    assert "swordfish" not in str(error.value)


@pytest.mark.usefixtures("container")
def test_a_missing_role_on_the_service_account_is_named(clouds: Clouds, tmp_path: Path) -> None:
    text = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource"
    clouds.denied = (403, {"error": {"code": 403, "message": text, "status": "PERMISSION_DENIED"}})
    with pytest.raises(ConfigError, match=r"grant its principal roles/iam\.workloadIdentityUser"):
        headers(federation(tmp_path, clouds))


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize("answer", [{"error": "internal_failure"}, "<html>bad gateway</html>"])
def test_an_outage_is_temporary(clouds: Clouds, tmp_path: Path, answer: Any) -> None:
    clouds.rejection = (503, answer)
    with pytest.raises(Temporary):
        headers(federation(tmp_path, clouds))


@pytest.mark.usefixtures("container")
def test_a_container_without_its_role_is_temporary(
    clouds: Clouds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "of another one")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    with pytest.raises(Temporary, match="the AWS credentials cannot be"):
        headers(federation(tmp_path, clouds))
