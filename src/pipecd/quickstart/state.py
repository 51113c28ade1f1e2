"""The quickstart's state directory: configuration, secrets, database, logs, and deployed files.

The quickstart writes nothing outside this directory, so removing it removes everything.
"""

import base64
import contextlib
import fcntl
import hashlib
import hmac
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog
import yaml
from argon2 import PasswordHasher

from pipecd.errors import ConfigError
from pipecd.quickstart import demo_cluster, demos, google_emulator
from pipecd.quickstart.aws_emulator import REGION
from pipecd.quickstart.demo_cluster import DemoCluster
from pipecd.quickstart.demos import Demo
from pipecd.quickstart.ports import Ports

log = structlog.get_logger()

PROJECT, USERNAME = "quickstart", "hello"
_README = """State of `pipecd quickstart`. To remove it, run `make quickstart-clean`.

control-plane.yaml, piped.yaml   configuration of control plane and agent
secrets/                         the console's password, the agent's key, the key that signs sessions
control-plane/                   the control plane's database and objects
git/                             the Git repository of the demo
terraform/                       Terraform state of the demo applications
deployed/                        files created by the demo applications
cluster/                         certificates, database and logs of the simulated Kubernetes cluster
google/                          services and jobs of the emulated Google Cloud
inbox.json                       notifications that were sent
logs/                            logs of the programs
"""
#: Its presence identifies a state directory.
_MARKER = "README.txt"
_CLUSTER_FILE = "cluster.json"


@dataclass(frozen=True)
class State:
    folder: Path
    #: Whether the emulated AWS is enabled.
    with_aws: bool = False
    #: The demo is that of Kubernetes, on this cluster.
    cluster: DemoCluster | None = None
    #: The demo is that of Cloud Run, on an emulated Google Cloud.
    google: bool = False

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        with_aws: bool = False,
        cluster: DemoCluster | None = None,
        google: bool = False,
    ) -> "State":
        """Open or create the directory. Raises ConfigError if it contains something else."""
        folder = folder.absolute()
        marker = folder / _MARKER
        if folder.exists() and not marker.exists() and any(folder.iterdir()):
            raise ConfigError(
                f"{folder} is not empty and not a quickstart state directory",
                remedy="choose another directory with --state-dir",
            )
        try:
            for name in ("secrets", "control-plane", "git", "terraform", "deployed", "google", "logs"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / "secrets").chmod(0o700)
            marker.write_text(_README)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written: {error.strerror}",
                remedy="free some space or choose another directory with --state-dir",
            ) from error
        state = cls(folder, with_aws, cluster, google)
        state._get_or_create_secret("password", lambda: secrets.token_urlsafe(9))
        state._get_or_create_secret("encryption-key", lambda: secrets.token_urlsafe(64))
        state._get_or_create_secret("webhook", lambda: secrets.token_urlsafe(32))
        state._get_or_create_secret("inbox-key", _new_signing_key)
        return state

    @property
    def demo(self) -> Demo:
        """The demo whose applications are in the repository from the start."""
        if self.google:
            return demos.GOOGLE
        if self.cluster:
            return demos.KUBERNETES_WITH_GATEWAY if self.cluster.gateway else demos.KUBERNETES
        return demos.TERRAFORM

    @property
    def cluster_file(self) -> Path:
        """Which cluster the applications were deployed to."""
        return self.folder / _CLUSTER_FILE

    @property
    def google_file(self) -> Path:
        """The state of the emulated Google Cloud."""
        return self.folder / "google" / "cloud-run.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory while the block runs. Raises ConfigError if another quickstart is using it."""
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(
                    f"another quickstart is using {self.folder}",
                    remedy="stop it, or choose another directory with --state-dir",
                ) from None
            yield

    def password(self) -> str:
        return self._read_secret("password")

    def log(self, program: str) -> Path:
        return self.folder / "logs" / f"{program}.log"

    def has_agent(self) -> bool:
        return (self.folder / "secrets" / "piped-id").exists()

    def agent_id(self) -> str:
        return self._read_secret("piped-id")

    def store_agent(self, piped_id: str, key: str) -> None:
        self._write_secret("piped-key", key)
        self._write_secret("piped-id", piped_id)

    def was_registered(self, application: str) -> bool:
        """Whether the quickstart has registered the application, at this start or an earlier one."""
        return (self.folder / ".registered" / application).exists()

    def mark_registered(self, application: str) -> None:
        (self.folder / ".registered").mkdir(exist_ok=True)
        (self.folder / ".registered" / application).touch()

    def write_control_plane(self, ports: Ports) -> None:
        password_hash = self._get_or_create_secret(
            "password-hash", lambda: PasswordHasher().hash(self.password())
        )
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
                {
                    "id": PROJECT,
                    "staticAdmin": {"username": USERNAME, "passwordHash": password_hash},
                    "notifications": {"receivers": [self._inbox(ports)]},
                },
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
            "platformProviders": self._providers(ports),
            "notifications": {
                "routes": [{"name": "everything", "receiver": "inbox"}],
                "receivers": [self._inbox(ports)],
            },
        }
        self._write_yaml("piped.yaml", "Piped", spec)

    def inbox_key(self) -> str:
        return self._read_secret("inbox-key")

    def _inbox(self, ports: Ports) -> dict[str, Any]:
        """A receiver of notifications."""
        webhook = {
            "url": f"http://127.0.0.1:{ports.inbox}",
            "signingKeyFile": str(self.folder / "secrets" / "inbox-key"),
            "format": "cloudevents",
        }
        return {"name": "inbox", "webhook": webhook}

    def _providers(self, ports: Ports) -> list[dict[str, Any]]:
        providers: list[dict[str, Any]] = []
        if not self.google or any(map(self.was_registered, demos.TERRAFORM.applications)):
            providers.append({"name": "terraform", "type": "TERRAFORM"})
        if self.google:
            # Written again, because the port may be another one.
            self._write_secret("google-account.json", google_emulator.account(ports.google))
            file = self.folder / "secrets" / "google-account.json"
            config = google_emulator.provider(ports.google, file)
            providers.append({"name": "cloudrun", "type": "CLOUDRUN", "config": config})
        if self.cluster:
            providers.append({"name": "kubernetes", "type": "KUBERNETES", "config": self.cluster.provider})
        if self.with_aws:
            providers += [
                {"name": kind.lower(), "type": kind, "config": {"region": REGION}}
                for kind in ("LAMBDA", "ECS")
            ]
        return providers

    def write_guide(self, content: Mapping[str, Any]) -> None:
        """Write what the console's first page shows."""
        (self.folder / "newcomer.json").write_text(json.dumps(content))

    def send_push_webhook(self, console: str, remote: str) -> None:
        """Send a push webhook in Gitea's format. If it is lost, the agent's next poll finds the push."""
        body = json.dumps({"repository": {"clone_url": remote}}).encode()
        signature = hmac.new(self._read_secret("webhook").encode(), body, hashlib.sha256).hexdigest()
        try:
            httpx.post(
                f"{console}/hooks/gitea", content=body, headers={"x-gitea-signature": signature}, timeout=5
            )
        except httpx.HTTPError as error:
            log.debug("webhook_not_delivered", error=str(error))

    def _write_yaml(self, name: str, kind: str, spec: dict[str, Any]) -> None:
        document = {"apiVersion": "pipecd.dev/v1beta1", "kind": kind, "spec": spec}
        (self.folder / name).write_text(yaml.safe_dump(document, sort_keys=False))

    def _get_or_create_secret(self, name: str, create: Any) -> str:
        if not (self.folder / "secrets" / name).exists():
            self._write_secret(name, create())
        return self._read_secret(name)

    def _write_secret(self, name: str, value: str) -> None:
        path = self.folder / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(value)

    def _read_secret(self, name: str) -> str:
        try:
            return (self.folder / "secrets" / name).read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"{error.filename} cannot be read: {error.strerror}",
                remedy="the state directory is broken; remove it with `make quickstart-clean`",
            ) from error


def _new_signing_key() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def remove(folder: Path) -> tuple[bool, str]:
    """Remove the state directory. Raises ConfigError if it is another directory.

    Returns whether there was one, and what stays in a cluster of the user.
    """
    folder = folder.absolute()
    if not folder.exists():
        return False, ""
    if not (folder / _MARKER).exists():
        raise ConfigError(f"{folder} is not a quickstart state directory and was not removed")
    stays = demo_cluster.removal(folder / _CLUSTER_FILE)
    shutil.rmtree(folder)
    return True, stays
