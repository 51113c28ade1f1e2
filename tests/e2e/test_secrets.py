"""A secret end to end: encrypted by a user, stored in Git, decrypted by the agent, and shown nowhere."""

import base64
import io
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from urllib.parse import quote, quote_plus

import structlog

from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.telemetry import configure_logging
from tests import keys
from tests.eventually import eventually
from tests.pipectl.pipectl_process import Pipectl
from tests.world import World, app_file, world

SECRET = "correct horse/battery+staple&x"
ENCODINGS = [
    SECRET,
    SECRET.upper(),
    base64.b64encode(SECRET.encode()).decode(),
    base64.urlsafe_b64encode(SECRET.encode()).decode(),
    quote(SECRET, safe=""),
    quote_plus(SECRET),
]


@contextmanager
def capture_logs() -> Iterator[io.StringIO]:
    """Everything that the programs in this process log."""
    root, written = logging.getLogger(), io.StringIO()
    before, level = list(root.handlers), root.level
    with redirect_stderr(written), redirect_stdout(written):
        configure_logging("json", "debug")
        yield written
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


async def encrypt_with_pipectl(w: World, secret: str, *arguments: str) -> str:
    key_file = w.folder / "api.key"
    key_file.write_text((await w.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_ONLY)).key)
    pipectl = Pipectl(w.plane, key_file)
    result = await pipectl("encrypt", "--piped-id", w.piped_id, *arguments, stdin=secret)
    assert result.code == 0, result.err
    return result.out.strip()


async def test_secret_is_deployed_and_shown_nowhere(tmp_path: Path) -> None:
    async with AsyncExitStack() as exit_stack:
        w = await exit_stack.enter_async_context(world(tmp_path))
        written = exit_stack.enter_context(capture_logs())
        await exit_stack.enter_async_context(w.agent(secretManagement=keys.write_key_pair(tmp_path)))
        await eventually(w.has_repositories)
        by_console = await w.console.call(
            "GenerateApplicationSealedSecret", piped_id=w.piped_id, data=SECRET, base64_encoding=False
        )
        by_pipectl = await encrypt_with_pipectl(w, SECRET, "--use-base64-encoding")
        assert SECRET not in by_console.data and SECRET not in by_pipectl
        reveal = " ".join(
            [
                "cat secret.txt;",
                "base64 -w0 secret.txt; echo;",
                "(printf 'user:'; cat secret.txt) | base64 -w0; echo;",
                "cp secret.txt $OUT/decrypted; cp motd.txt $OUT/motd; exit 3",
            ]
        )
        template = (
            "{{ .encryptedSecrets.one }}\n{{ .encryptedSecrets.one | upper }}\n"
            "{{ .encryptedSecrets.one | urlquery }}\n{{ .encryptedSecrets.two | b64dec }}\n"
        )
        stages = [{"name": "SCRIPT_RUN", "with": {"run": reveal, "env": {"OUT": str(tmp_path)}}}]
        app = await w.add_application(
            "shop",
            {
                "app.pipecd.yaml": app_file(
                    pipeline={"stages": stages},
                    encryption={
                        "encryptedSecrets": {"one": by_console.data, "two": by_pipectl},
                        "decryptionTargets": ["secret.txt"],
                    },
                    attachment={"sources": {"name": "name.txt"}, "targets": ["motd.txt"]},
                ),
                "secret.txt": template,
                "name.txt": "World\n",
                "motd.txt": "Hello {{ .attachment.name | trim }}!\n",
            },
        )
        deployment = await w.wait_for_deployment(app)
        assert DeploymentStatus.Name(deployment.status) == "DEPLOYMENT_FAILURE"
        assert (tmp_path / "decrypted").read_text().splitlines() == [
            SECRET,
            SECRET.upper(),
            quote_plus(SECRET),
            SECRET,
        ]
        assert (tmp_path / "motd").read_text() == "Hello World!\n"
        stage = deployment.stages[0]
        log = await w.wait_for_log(deployment.id, stage.id, "******", count=6)
        application = await w.console.call("GetApplication", application_id=app)
        shown = f"{deployment}{application}"
    places = {"the stage's log": log, "the console": shown, "the agent's log": written.getvalue()}
    places |= {path.name: path.read_bytes().decode(errors="replace") for path in stored_files(tmp_path)}
    for place, text in places.items():
        for encoded in ENCODINGS:
            assert encoded not in text, f"{encoded} is in {place}"


def stored_files(folder: Path) -> Iterator[Path]:
    """All files of the control plane, the agent, and the repository."""
    for name in ("plane", "agent", "git"):
        yield from (path for path in (folder / name).rglob("*") if path.is_file())


async def test_secret_that_cannot_be_decrypted_ends_the_deployment_with_its_location(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.add_application(
            "shop",
            {
                "app.pipecd.yaml": app_file(
                    encryption={"encryptedSecrets": {"one": "AAAA"}, "decryptionTargets": ["secret.txt"]}
                ),
                "secret.txt": "",
            },
        )
        deployment = await w.wait_for_deployment(app)
        assert "encryptedSecrets.one" in deployment.status_reason
        assert "spec.secretManagement" in deployment.status_reason
