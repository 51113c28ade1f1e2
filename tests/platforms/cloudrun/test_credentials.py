"""The files that `credentialsFile` may name, and what is wrong with others."""

import json
from pathlib import Path

import pytest

from pipecd.errors import ConfigError, Temporary
from pipecd.google_credentials import GoogleCredentials
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
