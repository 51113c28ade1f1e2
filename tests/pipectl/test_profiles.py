"""Connection settings: flags, environment and profiles, and which of them wins."""

from pathlib import Path

import pytest

from pipecd.errors import ConfigError
from pipecd.pipectl.profiles import Settings, combine, configuration_file, load_profile

FLAGS = Settings(address="flag:1", api_key="flag-key", insecure=True)
PROFILE = Settings(
    address="profile:1", api_key_file=Path("/profile/key"), insecure=False, cert_file="/profile/ca.pem"
)


@pytest.mark.parametrize(
    ("sources", "profile", "expected"),
    [
        pytest.param([], None, Settings(insecure=False), id="nothing is set"),
        pytest.param(
            [Settings(), Settings(address="env:1", api_key="env-key")],
            None,
            Settings(address="env:1", api_key="env-key", insecure=False),
            id="the environment is used without flags",
        ),
        pytest.param(
            [Settings(api_key_file=Path("/flag/key")), Settings(address="env:1", api_key="env-key")],
            None,
            Settings(address="env:1", api_key_file=Path("/flag/key"), insecure=False),
            id="a key file as a flag replaces a key in the environment",
        ),
        pytest.param(
            [Settings(), Settings(api_key="env-key"), PROFILE],
            PROFILE,
            Settings(address="profile:1", api_key="env-key", insecure=False, cert_file="/profile/ca.pem"),
            id="the environment's key is used with the profile's address",
        ),
        pytest.param(
            [FLAGS, Settings(), PROFILE],
            PROFILE,
            Settings(address="flag:1", api_key="flag-key", insecure=True),
            id="a profile of another control plane is not used",
        ),
        pytest.param(
            [Settings(address="other:1"), Settings(), PROFILE],
            PROFILE,
            Settings(address="other:1", insecure=False),
            id="the profile's key is not sent to another control plane",
        ),
        pytest.param(
            [Settings(), PROFILE, Settings(address="env:1", api_key="env-key", insecure=True)],
            PROFILE,
            PROFILE,
            id="a profile that precedes the environment",
        ),
    ],
)
def test_the_first_source_that_sets_a_value_wins(
    sources: list[Settings], profile: Settings | None, expected: Settings
) -> None:
    assert combine(sources, profile) == expected


def test_a_key_and_a_key_file_of_one_source_are_refused() -> None:
    with pytest.raises(ConfigError, match="both an API key and a file with an API key are set"):
        combine([Settings(api_key="k", api_key_file=Path("f"))])


def write(folder: Path, spec: str, mode: int = 0o600) -> Path:
    file = folder / "pipectl.yaml"
    file.write_text(f"apiVersion: pipecd.dev/v1beta1\nkind: Pipectl\nspec:\n{spec}")
    file.chmod(mode)
    return file


TWO = """  defaultProfile: prod
  profiles:
    prod: {address: "pipecd.example.com:443", apiKeyFile: prod.key, certFile: /etc/ca.pem}
    local: {address: "localhost:8081", apiKey: secret, insecure: true}
"""


def test_a_profile_is_read_by_name_or_by_default(tmp_path: Path) -> None:
    file = write(tmp_path, TWO)
    prod = Settings(
        address="pipecd.example.com:443",
        api_key_file=tmp_path / "prod.key",
        insecure=False,
        cert_file="/etc/ca.pem",
    )
    assert load_profile("", file) == load_profile("prod", file) == prod
    assert load_profile("local", file) == Settings(address="localhost:8081", api_key="secret", insecure=True)


def test_no_file_and_no_default_are_no_profile(tmp_path: Path) -> None:
    assert load_profile("", tmp_path / "missing.yaml") is None
    assert load_profile("", write(tmp_path, "  profiles: {a: {address: 'a:1'}}\n")) is None


@pytest.mark.parametrize(
    ("spec", "mode", "name", "message"),
    [
        (TWO, 0o600, "dev", "has no profile dev; its profiles: local, prod"),
        (TWO, 0o644, "local", "can be read by other users; run `chmod 600"),
        (
            "  profiles: {a: {adress: 'a:1'}}\n",
            0o600,
            "a",
            "unknown key 'adress'; did you mean address",
        ),
        ("  profiles: {a: {}}\n", 0o600, "a", "address: is missing"),
        ("  profiles: [a]\n", 0o600, "a", "is not a mapping"),
    ],
)
def test_a_wrong_profile_is_reported_with_a_remedy(
    tmp_path: Path, spec: str, mode: int, name: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_profile(name, write(tmp_path, spec, mode))


def test_a_named_profile_needs_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no profile prod: .*missing.yaml does not exist"):
        load_profile("prod", tmp_path / "missing.yaml")


def test_the_path_of_the_file_follows_the_environment() -> None:
    assert configuration_file({"PIPECTL_CONFIG": "/a/b.yaml"}) == Path("/a/b.yaml")
    assert configuration_file({"XDG_CONFIG_HOME": "/config"}) == Path("/config/pipecd/pipectl.yaml")
    assert configuration_file({}) == Path.home() / ".config/pipecd/pipectl.yaml"
