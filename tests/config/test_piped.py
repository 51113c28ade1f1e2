"""The agent's file: the spelling of keys."""

import re

import pytest

from pipecd.config import piped
from pipecd.config.document import locating_errors
from pipecd.errors import ConfigError, Place
from pipecd.piped.credentials import configured_secrets, forge_hosts

HEAD = "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec:\n"


def test_errors_name_keys_as_pipecd_writes_them() -> None:
    with pytest.raises(ConfigError) as error:
        piped.load(HEAD + "  syncInterval: 1m\n", "piped.yaml")
    for key in ("spec.projectID", "spec.pipedID", "spec.apiAddress"):
        assert f"{key}: is missing" in str(error.value)


def test_the_case_of_keys_does_not_matter() -> None:
    spec = piped.load(
        HEAD
        + "  projectId: shop\n  PIPEDID: p1\n  pipedKeyData: eA==\n  apiaddress: a:1\n"
        + "  notifications: {receivers: [{name: n, slack: {hookUrl: 'http://u', channelId: c}}]}\n",
        "piped.yaml",
    )
    assert (spec.project_id, spec.piped_id, spec.api_address) == ("shop", "p1", "a:1")
    (receiver,) = spec.notifications.receivers
    assert receiver.slack and (receiver.slack.hook_url, receiver.slack.channel_id) == ("http://u", "c")


GIT_HOSTS = HEAD + "  projectID: shop\n  pipedID: p1\n  pipedKeyData: eA==\n  apiAddress: a:1\n  gitHosts: "


def test_the_api_of_a_well_known_git_host_is_known() -> None:
    text = GIT_HOSTS + "[{host: GitHub.com, tokenData: c2VjcmV0}, {host: g.com, type: GITEA, tokenFile: /t}]"
    spec = piped.load(text, "piped.yaml")
    assert [(host.host, host.forge) for host in spec.git_hosts] == [
        ("github.com", "GITHUB"),
        ("g.com", "GITEA"),
    ]
    assert "c2VjcmV0" in list(configured_secrets(spec)) and "secret" in piped.secret_values(
        text, "piped.yaml"
    )
    (with_data, with_file) = forge_hosts(spec, (secrets := list[str]()).append)
    assert with_data.token() == "secret" and secrets == ["secret"]
    with pytest.raises(ConfigError, match=r"spec\.gitHosts\[1\]\.tokenFile: /t cannot be read"):
        with_file.token()


def test_an_error_found_after_reading_names_file_and_line_of_its_key() -> None:
    text = (
        GIT_HOSTS + "\n    - {host: github.com, tokenData: eA==}\n    - {host: gitlab.com, tokenFile: /t}\n"
    )
    document = piped.read_document(text, "piped.yaml")
    (_, host) = forge_hosts(piped.decode_spec(document), lambda _: None)
    place = re.escape("piped.yaml:10: spec.gitHosts[1].tokenFile: /t cannot be read")
    with pytest.raises(ConfigError, match=place), locating_errors(document):
        host.token()
    flag = ConfigError("is wrong", place=Place(key="--flag"))
    application = ConfigError("is wrong", place=Place("app.pipecd.yaml", 3, "spec.name"))

    def fail() -> None:
        with pytest.raises(ConfigError) as caught:
            host.token()
        raise ExceptionGroup("tasks", [ExceptionGroup("inner", [caught.value]), flag, application])

    with pytest.raises(ExceptionGroup) as group, locating_errors(document):
        fail()
    assert group.group_contains(ConfigError, match=f"^{place}")
    assert (str(flag), str(application)) == ("--flag: is wrong", "app.pipecd.yaml:3: spec.name: is wrong")


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ("[{host: git.a.com, tokenFile: t}]", "type must be given: the API of git.a.com is unknown"),
        ("[{host: github.com}]", "exactly one of tokenFile and tokenData"),
        ("[{host: https://github.com, tokenFile: t}]", "is not the name of a host"),
        ("[{host: github.com, tokenFile: t, username: ada}]", "only be given with type BITBUCKET"),
        ("[{host: github.com, tokenFile: t, apiURL: file:///x}]", "apiURL: must be a URL that begins with"),
        (
            "[{host: github.com, tokenFile: t}, {host: GITHUB.com, tokenFile: t}]",
            "each host can be given once",
        ),
    ],
)
def test_a_wrong_git_host_is_an_error(hosts: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        piped.load(GIT_HOSTS + hosts, "piped.yaml")


KEY = "pipedKeyData: eA==\n  "


@pytest.mark.parametrize(
    "lines",
    [
        "pipedKeyData: '%'",
        KEY + "git: {password: not-base64!}",
        KEY + "git: {sshKeyData: '-----BEGIN'}",
        KEY + "gitHosts: [{host: github.com, tokenData: ghp_x}]",
        KEY + "secretManagement: {type: KEY_PAIR, config: {privateKeyData: x, publicKeyFile: p}}",
        KEY + "notifications: {receivers: [{name: n, slack: {oauthTokenData: x-, channelID: c}}]}",
    ],
)
def test_what_is_not_base64_is_refused_with_file_line_and_key(lines: str) -> None:
    text = HEAD + f"  projectID: shop\n  pipedID: p1\n  apiAddress: a:1\n  {lines}\n"
    with pytest.raises(ConfigError) as error:
        piped.load(text, "piped.yaml")
    number = len(text.splitlines())
    assert str(error.value).startswith(f"piped.yaml:{number}: spec.")
    assert "is not base64: encode it with `base64 < FILE`" in str(error.value)
