"""Wrong command lines and files: one sentence with the place and the remedy, an exit code, no traceback."""

import logging
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from pipecd import __main__ as programs
from tests.controlplane.server_fixture import PASSWORD_HASH

CONTROL_PLANE = f"""apiVersion: pipecd.dev/v1beta1
kind: ControlPlane
spec:
  datastore: {{type: SQLITE, config: {{path: DB}}}}
  filestore: {{type: LOCAL, config: {{path: FILES}}}}
  projects:
    - id: shop
      staticAdmin: {{username: hello, passwordHash: "{PASSWORD_HASH}"}}
"""
PIPED = """apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: shop
  pipedID: a
  pipedKeyData: aDdLcTJtWnhWOVR3
  apiAddress: 127.0.0.1:1
"""
FILES = {
    "cp.yaml": CONTROL_PLANE,
    "no-files.yaml": CONTROL_PLANE.replace("path: FILES", "path: empty/FILES"),
    "no-secret.yaml": CONTROL_PLANE + "  webhooks: [{provider: GITHUB, secretFile: nowhere}]\n",
    "no-headers.yaml": CONTROL_PLANE
    + "  tracing:\n    {endpoint: 'http://127.0.0.1:1', headersFile: nowhere}\n",
    "no-collector.yaml": CONTROL_PLANE + "  tracing: {endpoint: 'ftp://a'}\n",
    "address.yaml": CONTROL_PLANE + "  address: cd.example.com\n",
    "http.yaml": CONTROL_PLANE + "  address: http://cd.example.com\n",
    "postgresql.yaml": CONTROL_PLANE.replace(
        "{type: SQLITE, config: {path: DB}}",
        "{type: POSTGRESQL, config: {url: 'postgresql://127.0.0.1:1', usernameFile: nowhere}}",
    ),
    "piped.yaml": PIPED,
    "url.yaml": PIPED.replace("127.0.0.1:1", "https://cd.example.com:443/"),
    "no-key.yaml": PIPED.replace("pipedKeyData: aDdLcTJtWnhWOVR3", "pipedKeyFile: nowhere"),
    "id.yaml": PIPED.replace("pipedID: a", "pipedID: 7a1c…"),
    "other-key.yaml": PIPED.replace("pipedKeyData: aDdLcTJtWnhWOVR3", "pipedKeyFile: other-key"),
    "pair.yaml": PIPED
    + "  secretManagement: {type: KEY_PAIR, config: {privateKeyFile: key, publicKeyFile: key}}\n",
    "other-key": "h7Kq2m…",
    "token.yaml": PIPED + "  git: {password: '?'}\n",
    "ssh.yaml": PIPED + "  git: {sshKeyFile: nowhere}\n",
    "type.yaml": PIPED + "  platformProviders:\n    - {name: tf, type: TERRAFROM}\n",
    "region.yaml": PIPED + "  platformProviders:\n    - {name: ecs, type: ECS}\n",
    "broken.yaml": "a: [",
    "empty": "",
    "key": "k" * 64,
}
SERVER = (
    "pipecd server --config-file=cp.yaml --encryption-key-file=key --host=127.0.0.1"
    " --piped-api-port=0 --http-port=0 --admin-port=0"
)
AGENT = "piped piped --home-dir=home --admin-port=0 --insecure"
LAUNCHER = "launcher launcher --home-dir=home --admin-port=0 --insecure"
PIPECTL = "pipectl application list --address=127.0.0.1:1"
PROJECTS = "pipecd projects {} --config-file=cp.yaml"

CASES = [
    (f"{SERVER} --tls", "--tls needs a certificate; give --cert-file and --key-file"),
    (
        f"{SERVER} --tls --cert-file=nowhere --key-file=key",
        "--cert-file: nowhere cannot be read: No such file",
    ),
    (
        f"{SERVER} --tls --cert-file=key --key-file=key",
        "--cert-file key and --key-file key are no certificate",
    ),
    (f"{SERVER} --static-dir=.", "--static-dir: . contains no index.html; name the directory"),
    (
        f"{SERVER} --host=203.0.113.7",
        "cannot listen on 203.0.113.7:0 .*--host must be an address of this machine",
    ),
    (f"{SERVER} --config-file=nowhere", "--config-file: nowhere cannot be read: No such file or directory; "),
    (f"{SERVER} --config-file=binary", "--config-file: binary cannot be read: it is not UTF-8 text; "),
    (
        f"{SERVER} --config-file=no-files.yaml",
        "no-files.yaml:5: spec.filestore.config.path: .*empty/FILES is not writable.*; name",
    ),
    (
        f"{SERVER} --config-file=no-secret.yaml",
        r"no-secret.yaml:9: spec.webhooks\[0\].secretFile: nowhere cannot be read",
    ),
    (
        f"{SERVER} --config-file=no-headers.yaml",
        "no-headers.yaml:10: spec.tracing.headersFile: nowhere cannot be read",
    ),
    (
        f"{SERVER} --config-file=no-collector.yaml",
        "no-collector.yaml:9: spec.tracing: 'ftp://a' is not the address of a collector; write",
    ),
    (f"{SERVER} --config-file=address.yaml", "address.yaml:9: spec.address: must be a URL that begins with"),
    (
        f"{SERVER} --config-file=postgresql.yaml",
        "postgresql.yaml:4: spec.datastore.config.usernameFile: nowhere cannot be read",
    ),
    (
        f"{PROJECTS.format('list')} --config-file=postgresql.yaml",
        "postgresql.yaml:4: spec.datastore.config.usernameFile: nowhere cannot be read",
    ),
    (
        "pipecd ops --config-file=cp.yaml --encryption-key-file=nowhere",
        "nowhere cannot be read.*openssl rand",
    ),
    (f"{PROJECTS.format('add')} --id=a.b", "'a.b' is not a project id; use up to 63 letters"),
    (f"{PROJECTS.format('add')} --id=shop", "project shop is defined in cp.yaml"),
    (f"{PROJECTS.format('add')} --id=team --username=", "--username is empty; give the static admin a name"),
    (f"{PROJECTS.format('add')} --id=team --password-file=empty", "the password has fewer than 8 characters"),
    (
        f"{PROJECTS.format('reset-password')} --id=shop",
        "project shop is defined in cp.yaml; change its staticAdmin",
    ),
    (f"{PROJECTS.format('reset-password')} --id=nothing", "project nothing does not exist"),
    ("pipecd hash-password --password=short", "the password has fewer than 8 characters"),
    (f"{AGENT}", "no configuration is given; give exactly one of --config-file, "),
    (f"{AGENT} --config-data=!", "--config-data is not a base64-encoded YAML file; encode it"),
    (f"{AGENT} --config-file=binary", "binary is not text; save it as UTF-8"),
    (
        f"{AGENT} --config-file=url.yaml",
        "url.yaml:7: spec.apiAddress: is a URL: write .* cd.example.com:443$",
    ),
    (
        f"{AGENT} --config-file=no-key.yaml",
        "no-key.yaml:6: spec.pipedKeyFile: nowhere cannot be read: No such file or directory; specify",
    ),
    (f"{AGENT} --config-file=id.yaml", "id.yaml:5: spec.pipedID: contains .*: copy it from the console"),
    (
        f"{AGENT} --config-file=other-key.yaml",
        "other-key.yaml:6: spec.pipedKeyFile: the key is not one line of ASCII characters; copy it",
    ),
    (
        f"{AGENT} --config-file=pair.yaml",
        "pair.yaml:8: spec.secretManagement.config.privateKeyFile: the private key .* is not an RSA key"
        ".*; generate",
    ),
    (f"{AGENT} --config-file=token.yaml", "token.yaml:8: spec.git.password: is not base64: encode it"),
    (f"{LAUNCHER} --config-file=no-key.yaml", "no-key.yaml:6: spec.pipedKeyFile: nowhere cannot be read"),
    (f"{AGENT} --config-file=ssh.yaml", "ssh.yaml:8: spec.git.sshKeyFile: nowhere cannot be read.*; specify"),
    (
        f"{AGENT} --config-file=type.yaml",
        r"type.yaml:9: spec.platformProviders\[0\].type: .*did you mean TERRAFORM",
    ),
    (
        f"{AGENT} --config-file=region.yaml",
        r"region.yaml:9: spec.platformProviders\[0\].config.region: .*add it",
    ),
    (
        f"{AGENT} --config-file=piped.yaml --home-dir=key",
        "key/a cannot be written: .*; give the agent its own",
    ),
    (
        "piped piped --config-file=piped.yaml --home-dir=home --admin-port=0 --cert-file=key",
        "the certificate file key contains no certificate; point --cert-file at",
    ),
    (f"{LAUNCHER} --config-file=url.yaml", "url.yaml:7: spec.apiAddress: is a URL: write host:port"),
    (f"{LAUNCHER} --config-file=piped.yaml --releases=nowhere", "nowhere cannot be read: .*; set --releases"),
    (
        f"{LAUNCHER} --config-file=piped.yaml --default-version=x",
        "'x' is not a version; write it like v0.2.0",
    ),
    (f"{PIPECTL}", "no API key is set; set --api-key-file"),
    (
        f"{PIPECTL} --api-key-file=nowhere",
        "API key file nowhere: No such file or directory; name a readable file",
    ),
    (f"{PIPECTL} --api-key-file=binary", "API key file binary is not text; name a readable file"),
    (
        f"{PIPECTL} --api-key=h7Kq2mZxV9Tw --cert-file=key",
        "the certificate file key contains no certificate; ",
    ),
    (
        f"{PIPECTL} --api-key=h7Kq2mZxV9Tw --insecure",
        "nothing listens at 127.0.0.1:1; check that the control plane runs",
    ),
    (
        f"{PIPECTL} --address=https://cd.example.com --api-key=a",
        "is not a host:port address; use --address=cd.",
    ),
]
USAGE = [
    (f"{SERVER} --http-port=65536", "'--http-port': 65536 is not in the range 0<=x<=65535"),
    (f"{SERVER} --piped-api-port=-1", "'--piped-api-port': -1 is not in the range"),
    (f"{SERVER} --log-level=loud", "'--log-level': 'loud' is not one of 'debug', 'info'"),
    ("pipecd serve", "No such command 'serve'. Did you mean server?"),
    ("pipecd server --config-file=cp.yaml", "Missing option '--encryption-key-file'"),
    (f"{AGENT} --config-file=piped.yaml --admin-port=99999", "'--admin-port': 99999 is not in the range"),
    (f"{AGENT} --config-file=piped.yaml --log-level=loud", "'--log-level': 'loud' is not one of"),
    (f"{AGENT} --config-file=piped.yaml --grace-period=5", "'5' is not a duration: write it like 30s"),
    (f"{LAUNCHER} --config-file=piped.yaml --launcher-admin-port=70000", "70000 is not in the range"),
    ("pipecd quickstart --state-dir=piped.yaml", "'--state-dir': Directory 'piped.yaml' is a file"),
    ("pipecd quickstart --port=65530", "'--port': 65530 is not in the range"),
    ("pipectl aplication list", "No such command 'aplication'. Did you mean application?"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files in the working directory. The configuration of logging is that of the tests again afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    monkeypatch.chdir(tmp_path)
    # The command changes it.
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for variable in ("PIPECD_HOST", "PIPECD_API_KEY", "PIPECD_API_KEY_FILE", "PIPECD_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIPECTL_CONFIG", str(tmp_path / "no-profiles.yaml"))
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**configured)
    root.handlers[:], root.level = handlers, level


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", command.split(" "))
    program = {
        "pipecd": programs.main,
        "piped": programs.piped,
        "launcher": programs.launcher,
        "pipectl": programs.pipectl,
    }[sys.argv[0]]
    with pytest.raises(SystemExit) as exited:
        program()
    assert isinstance(exited.value.code, int)
    return exited.value.code


@pytest.mark.parametrize(("command", "sentence"), CASES)
def test_an_error_is_one_sentence_with_its_place_and_remedy(
    command: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, monkeypatch) == 1
    # Log lines may precede it.
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{command.split(' ')[0]}: ")
    assert re.search(sentence, last), last


@pytest.mark.parametrize(("command", "sentence"), USAGE)
def test_a_wrong_option_is_reported_with_its_name(
    command: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, monkeypatch) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["", " --insecure-cookie"])
def test_a_console_over_plain_http_needs_another_cookie(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the browser drops it, and shows the login page again."""
    with socket.socket() as listener:
        # The server ends, because its port is in use.
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = f" --http-port={listener.getsockname()[1]}"
        assert run(SERVER.replace("cp.yaml", "http.yaml") + port + flag, monkeypatch) == 1
    output = "".join(capsys.readouterr())
    assert ("session_cookie_needs_https" in output) == (not flag)


@pytest.mark.parametrize("flag", ["--piped-api-port", "--http-port", "--admin-port"])
def test_a_port_in_use_is_named(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert run(f"{SERVER} {flag}={port}", monkeypatch) == 1
    error = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}" in error
    assert f"({flag})" in error
