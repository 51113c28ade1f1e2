"""The configuration file of pipectl (`kind: Pipectl`): profiles, each of which describes a control plane."""

from collections.abc import Mapping

from pydantic import Field

from pipecd.config.decode import StrictModel, decode
from pipecd.config.document import parse_kind

KIND = "Pipectl"


class Profile(StrictModel):
    address: str = Field(min_length=1)
    """Address (`host:port`) of the control plane, without `https://`."""
    api_key_file: str = ""
    """File that contains the API key; relative to the directory of this file. `~` is the home directory."""
    api_key: str = ""
    """The API key itself. Only the owner may then be able to read this file; prefer `apiKeyFile`."""
    insecure: bool = False
    """Whether to use plaintext instead of TLS."""
    cert_file: str = ""
    """PEM file of CA certificates to trust instead of the system's; a relative path as in `apiKeyFile`."""


class PipectlSpec(StrictModel):
    default_profile: str = ""
    """The profile to use if neither `--profile` nor `PIPECD_PROFILE` names one."""
    profiles: Mapping[str, Profile] = Field(default_factory=dict)
    """The profiles by name."""


def load(text: str, file: str) -> PipectlSpec:
    """Decode the file. Raises ConfigError, which names file, line, key and remedy."""
    document = parse_kind(text, file, KIND, program="pipectl")
    return decode(PipectlSpec, document.spec, document, ("spec",))
