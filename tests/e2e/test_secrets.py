"""A secret on its whole way: sealed by people, kept in Git, opened by the agent, seen by nobody else."""

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
from tests.pipectl.running import Pipectl
from tests.world import World, app_file, world

SECRET = "correct horse/battery+staple&x"
SPELLINGS = [
    SECRET,
    SECRET.upper(),
    base64.b64encode(SECRET.encode()).decode(),
    base64.urlsafe_b64encode(SECRET.encode()).decode(),
    quote(SECRET, safe=""),
    quote_plus(SECRET),
]


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """All that the programs of this process can log."""
    root, written = logging.getLogger(), io.StringIO()
    before, level = list(root.handlers), root.level
    with redirect_stderr(written), redirect_stdout(written):
        configure_logging("json", "debug")
        yield written
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


async def sealed_by_pipectl(w: World, secret: str, *arguments: str) -> str:
    key_file = w.folder / "api.key"
    key_file.write_text((await w.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_ONLY)).key)
    pipectl = Pipectl(w.plane, key_file)
    ran = await pipectl("encrypt", "--piped-id", w.piped_id, *arguments, stdin=secret)
    assert ran.code == 0, ran.err
    return ran.out.strip()


async def test_a_secret_is_sealed_deployed_and_seen_nowhere(tmp_path: Path) -> None:
    async with AsyncExitStack() as held:
        w = await held.enter_async_context(world(tmp_path))
        written = held.enter_context(logged())
        await held.enter_async_context(w.agent(secretManagement=keys.made(tmp_path)))
        await eventually(w.has_repositories)
        by_console = await w.console.call(
            "GenerateApplicationSealedSecret", piped_id=w.piped_id, data=SECRET, base64_encoding=False
        )
        by_pipectl = await sealed_by_pipectl(w, SECRET, "--use-base64-encoding")
        assert SECRET not in by_console.data and SECRET not in by_pipectl
        reveal = " ".join(
            [
                "cat secret.txt;",
                "base64 -w0 secret.txt; echo;",
                "(printf 'user:'; cat secret.txt) | base64 -w0; echo;",
                "cp secret.txt $OUT/opened; cp motd.txt $OUT/motd; exit 3",
            ]
        )
        template = (
            "{{ .encryptedSecrets.one }}\n{{ .encryptedSecrets.one | upper }}\n"
            "{{ .encryptedSecrets.one | urlquery }}\n{{ .encryptedSecrets.two | b64dec }}\n"
        )
        stages = [{"name": "SCRIPT_RUN", "with": {"run": reveal, "env": {"OUT": str(tmp_path)}}}]
        app = await w.application(
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
        deployment = await w.ended(app)
        assert DeploymentStatus.Name(deployment.status) == "DEPLOYMENT_FAILURE"
        assert (tmp_path / "opened").read_text().splitlines() == [
            SECRET,
            SECRET.upper(),
            quote_plus(SECRET),
            SECRET,
        ]
        assert (tmp_path / "motd").read_text() == "Hello World!\n"
        stage = deployment.stages[0]
        log = await w.logged(deployment.id, stage.id, "******", count=6)
        application = await w.console.call("GetApplication", application_id=app)
        shown = f"{deployment}{application}"
    places = {"the stage's log": log, "the console": shown, "the agent's log": written.getvalue()}
    places |= {path.name: path.read_bytes().decode(errors="replace") for path in stored(tmp_path)}
    for place, text in places.items():
        for spelling in SPELLINGS:
            assert spelling not in text, f"{spelling} stands in {place}"


def stored(folder: Path) -> Iterator[Path]:
    """All that control plane and agent left on their disks, and the repository."""
    for name in ("plane", "agent", "git"):
        yield from (path for path in (folder / name).rglob("*") if path.is_file())


async def test_what_cannot_be_opened_ends_the_deployment_with_its_place(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        app = await w.application(
            "shop",
            {
                "app.pipecd.yaml": app_file(
                    encryption={"encryptedSecrets": {"one": "AAAA"}, "decryptionTargets": ["secret.txt"]}
                ),
                "secret.txt": "",
            },
        )
        deployment = await w.ended(app)
        assert "encryptedSecrets.one" in deployment.status_reason
        assert "spec.secretManagement" in deployment.status_reason
