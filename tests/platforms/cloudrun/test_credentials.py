"""The files that `credentialsFile` may name, and what is wrong with others."""

import base64
import json
from pathlib import Path

import pytest

from pipecd.config import piped
from pipecd.errors import ConfigError, Temporary
from pipecd.google_credentials import GoogleCredentials
from pipecd.piped.credentials import configured_secrets
from pipecd.platforms.cloudrun.config import CloudRunProvider
from tests.platforms.cloudrun.conftest import provider_of

PURPOSE = "Cloud Run cannot be used"


def test_a_service_account_is_used(endpoint: str, tmp_path: Path) -> None:
    file = provider_of(endpoint, tmp_path).credentials_file
    assert GoogleCredentials(PURPOSE, file).headers()["authorization"] == "Bearer granted"


def test_a_workload_identity_is_exchanged(endpoint: str, tmp_path: Path) -> None:
    """As an agent on AWS uses it, with a token in a file instead of AWS's metadata."""
    (tmp_path / "token").write_text("of another cloud")
    file = tmp_path / "federation.json"
    pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p"
    configuration = {
        "type": "external_account",
        "audience": pool,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{endpoint}/token",
        "credential_source": {"file": str(tmp_path / "token")},
    }
    file.write_text(json.dumps(configuration))
    assert GoogleCredentials(PURPOSE, str(file)).headers()["authorization"] == "Bearer granted"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be used: No such file or directory; correct credentialsFile"),
        ("no JSON", "cannot be used: it is not valid; correct credentialsFile"),
        ('{"type": "service_account"}', "is no file with Google credentials"),
        ('{"type": "other"}', "is no file with Google credentials; write the path of a"),
        ("[]", "is no file with Google credentials"),
    ],
)
def test_another_file_is_refused_without_its_content(
    tmp_path: Path, content: str | None, expected: str
) -> None:
    file = tmp_path / "secret.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as error:
        GoogleCredentials(PURPOSE, str(file)).headers()
    assert str(file) in str(error.value) and expected in str(error.value)


def test_an_outage_of_googles_login_is_temporary(tmp_path: Path) -> None:
    file = provider_of("http://127.0.0.1:9", tmp_path).credentials_file
    with pytest.raises(Temporary):
        GoogleCredentials(PURPOSE, file).headers()


def test_credentials_may_be_in_the_agents_configuration(endpoint: str, tmp_path: Path) -> None:
    content = Path(provider_of(endpoint, tmp_path).credentials_file).read_text()
    assert GoogleCredentials(PURPOSE, data=content).headers()["authorization"] == "Bearer granted"
    data = base64.b64encode(content.encode()).decode()
    text = _agent_file(credentialsData=data)
    document = piped.read_document(text, "piped.yaml")
    key = json.loads(content)["private_key"]
    assert {data, key} <= set(configured_secrets(piped.decode_spec(document)))
    assert data not in piped.mask_secrets(document)
    with pytest.raises(ValueError, match="set credentialsFile or credentialsData, not both"):
        CloudRunProvider(project="p", region="r", credentialsFile="f", credentialsData=data)


@pytest.mark.parametrize("content", ["no JSON", "[]"])
def test_credentials_in_the_configuration_that_cannot_be_used(content: str) -> None:
    with pytest.raises(ConfigError, match="credentialsData"):
        GoogleCredentials(PURPOSE, data=content).headers()


def _agent_file(**provider: str) -> str:
    config = {"project": "demo", "region": "europe-west1", **provider}
    spec = {
        "projectID": "shop",
        "pipedID": "p",
        "pipedKeyFile": "/key",
        "apiAddress": "x:1",
        "platformProviders": [{"name": "cloudrun", "type": "CLOUDRUN", "config": config}],
    }
    return json.dumps({"apiVersion": "pipecd.dev/v1beta1", "kind": "Piped", "spec": spec})
