"""The quickstart's directory: configuration, secrets, records, logs, and what was deployed.

Everything that a quickstart leaves on a machine is in here, readable, and gone when it is removed.
"""

import contextlib
import fcntl
import hashlib
import hmac
import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog
import yaml
from argon2 import PasswordHasher

from pipecd.errors import ConfigError
from pipecd.quickstart.aws_emulator import REGION
from pipecd.quickstart.ports import Ports

log = structlog.get_logger()

PROJECT, USERNAME = "quickstart", "hello"
_README = """This directory belongs to `pipecd quickstart`; `make quickstart-clean` removes it.

control-plane.yaml, piped.yaml   configuration of the two programs
secrets/                         the console's password, the agent's key, the key that signs sessions
control-plane/                   the control plane's database and objects
git/                             the demo's Git remote
terraform/                       Terraform's state of the demo applications
deployed/                        what the demo applications made
logs/                            what the programs said
"""
_MARK = "README.txt"


@dataclass(frozen=True)
class State:
    folder: Path
    #: Whether an emulated AWS runs too.
    with_aws: bool = False

    @classmethod
    def opened(cls, folder: Path, *, with_aws: bool = False) -> "State":
        """The directory, made when it is missing. Raises ConfigError when it is something else."""
        folder = folder.absolute()
        mark = folder / _MARK
        if folder.exists() and not mark.exists() and any(folder.iterdir()):
            raise ConfigError(
                f"{folder} is not a quickstart's directory and is not empty",
                remedy="choose another with --state-dir",
            )
        try:
            for name in ("secrets", "control-plane", "git", "terraform", "deployed", "logs"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / "secrets").chmod(0o700)
            mark.write_text(_README)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written: {error.strerror}",
                remedy="free some space or choose another directory with --state-dir",
            ) from error
        state = cls(folder, with_aws)
        state._secret("password", lambda: secrets.token_urlsafe(9))
        state._secret("encryption-key", lambda: secrets.token_urlsafe(64))
        state._secret("webhook", lambda: secrets.token_urlsafe(32))
        return state

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One quickstart a directory at a time."""
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(
                    f"another quickstart runs in {self.folder}", remedy="stop it, or choose --state-dir"
                ) from None
            yield

    def password(self) -> str:
        return self._read("password")

    def log(self, program: str) -> Path:
        return self.folder / "logs" / f"{program}.log"

    def has_agent(self) -> bool:
        return (self.folder / "secrets" / "piped-id").exists()

    def agent_id(self) -> str:
        return self._read("piped-id")

    def keep_agent(self, piped_id: str, key: str) -> None:
        self._write_secret("piped-key", key)
        self._write_secret("piped-id", piped_id)

    def was_registered(self, application: str) -> bool:
        """Whether it was registered once, at this start or before."""
        return (self.folder / ".registered" / application).exists()

    def registered(self, application: str) -> None:
        (self.folder / ".registered").mkdir(exist_ok=True)
        (self.folder / ".registered" / application).touch()

    def write_control_plane(self, ports: Ports) -> None:
        hashed = self._secret("password-hash", lambda: PasswordHasher().hash(self.password()))
        spec = {
            "address": f"http://localhost:{ports.console}",
            "datastore": {
                "type": "SQLITE",
                "config": {"path": str(self.folder / "control-plane" / "pipecd.db")},
            },
            "filestore": {
                "type": "LOCAL",
                "config": {"path": str(self.folder / "control-plane" / "objects")},
            },
            "projects": [
                {"id": PROJECT, "staticAdmin": {"username": USERNAME, "passwordHash": hashed}},
            ],
            "webhooks": [
                {"provider": "GITEA", "secretFile": str(self.folder / "secrets" / "webhook")},
            ],
        }
        self._write_yaml("control-plane.yaml", "ControlPlane", spec)

    def write_agent(self, ports: Ports, remote: str) -> None:
        spec = {
            "projectID": PROJECT,
            "pipedID": self.agent_id(),
            "pipedKeyFile": str(self.folder / "secrets" / "piped-key"),
            "apiAddress": f"localhost:{ports.api}",
            "syncInterval": "30s",
            "repositories": [{"repoId": "demo", "remote": remote, "branch": "main"}],
            "platformProviders": self._providers(),
        }
        self._write_yaml("piped.yaml", "Piped", spec)

    def _providers(self) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [{"name": "terraform", "type": "TERRAFORM"}]
        if self.with_aws:
            made += [
                {"name": one.lower(), "type": one, "config": {"region": REGION}} for one in ("LAMBDA", "ECS")
            ]
        return made

    def write_newcomer(self, remote: str) -> None:
        """What the console's first page suggests."""
        steps = [
            {
                "title": "Change the website: approve its plan here, then look at what was deployed",
                "commands": [
                    "cd demo",
                    "echo 'headline = \"Deployed by me\"' > website/terraform.tfvars",
                    "git commit -am 'A new headline'",
                    "git push",
                    f"cat {self.folder}/deployed/website/index.html",
                ],
            },
            {
                "title": "Add a subnet: a quick sync, without a pipeline",
                "commands": [
                    'echo \'subnets = ["10.0.1.0/24", "10.0.9.0/24"]\' > network/terraform.tfvars',
                    "git commit -am 'Another subnet' && git push",
                ],
            },
            {
                "title": "Break something: the check fails, and the former state comes back",
                "commands": [
                    "echo 'requests = 50000' > limits/terraform.tfvars",
                    "git commit -am 'Let everybody in' && git push",
                ],
            },
        ]
        if self.with_aws:
            steps.append(
                {
                    "title": "Shift traffic: a new version of the Lambda function gets a tenth of it first",
                    "commands": [
                        "sed -i 's/Good morning/Good evening/' function/code/app.py",
                        "git commit -am 'Greet in the evening' && git push",
                    ],
                }
            )
        content = {"remote": remote, "clone": f"git clone {remote} demo", "steps": steps}
        (self.folder / "newcomer.json").write_text(json.dumps(content))

    def tell_of_push(self, console: str, remote: str) -> None:
        """The webhook of a Gitea. One that is lost costs a poll interval."""
        body = json.dumps({"repository": {"clone_url": remote}}).encode()
        signature = hmac.new(self._read("webhook").encode(), body, hashlib.sha256).hexdigest()
        try:
            httpx.post(
                f"{console}/hooks/gitea", content=body, headers={"x-gitea-signature": signature}, timeout=5
            )
        except httpx.HTTPError as error:
            log.debug("webhook was not delivered", why=str(error))

    def _write_yaml(self, name: str, kind: str, spec: dict[str, Any]) -> None:
        document = {"apiVersion": "pipecd.dev/v1beta1", "kind": kind, "spec": spec}
        (self.folder / name).write_text(yaml.safe_dump(document, sort_keys=False))

    def _secret(self, name: str, make: Any) -> str:
        """The kept secret, or a new one."""
        if not (self.folder / "secrets" / name).exists():
            self._write_secret(name, make())
        return self._read(name)

    def _write_secret(self, name: str, value: str) -> None:
        path = self.folder / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(value)

    def _read(self, name: str) -> str:
        try:
            return (self.folder / "secrets" / name).read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"{error.filename} cannot be read: {error.strerror}",
                remedy="the state directory is broken; remove it with `make quickstart-clean`",
            ) from error


def remove(folder: Path) -> bool:
    """Removes a quickstart's directory; False when there is none. Raises ConfigError when it is not one."""
    folder = folder.absolute()
    if not folder.exists():
        return False
    if not (folder / _MARK).exists():
        raise ConfigError(f"{folder} is not a quickstart's directory; it is left alone")
    shutil.rmtree(folder)
    return True
