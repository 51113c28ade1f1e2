"""A real control plane for tests: on free ports, with SQLite and object files in a temporary directory.

async with control_plane(tmp_path) as plane:
    piped = await plane.register_piped("home")
    client = plane.web(…)            # ConsoleClient: WebService and ConsoleService over Connect
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from pipecd import controlplane
from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.config import controlplane as config
from pipecd.controlplane import Options, RunningServer
from pipecd.controlplane.rpc.table import CONSOLE, WEB
from pipecd.controlplane.settings import Settings
from tests.contracts.migrated import create_sqlite_database

DATABASE = "pipecd.db"
PROJECT, USER, PASSWORD = "shop", "hello", "a long enough password"
#: The parameters of a hash are stored in it. The usual ones cost half a second of CPU time per control plane.
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
DEFAULT_SETTINGS = Settings()
ENCRYPTION_KEY = b"0123456789abcdef0123456789abcdef0123456789abcdef"
_METHODS = {method.name: (service, method) for service in (WEB, CONSOLE) for method in service.methods}


class CallFailed(Exception):
    def __init__(self, code: str, text: str, details: Sequence[Mapping[str, str]] = ()) -> None:
        self.code, self.text, self.details = code, text, details
        super().__init__(f"{code}: {text}")


@dataclass
class Console:
    """Behaves like a browser: signs in, then calls methods by name."""

    base: str
    #: Loads no certificates, which takes longer than most requests: tests use plaintext.
    http: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=60, verify=False))

    async def sign_in(self, project: str = PROJECT, user: str = USER, password: str = PASSWORD) -> None:
        form = {"project": project, "username": user, "password": password}
        response = await self.http.post(f"{self.base}/auth/login/static", data=form)
        assert response.status_code == 302, (response.status_code, response.headers)

    async def call(self, method: str, **fields: Any) -> Any:
        """The response message. Raises CallFailed with the Connect error code."""
        service, descriptor = _METHODS[method]
        request: Message = GetMessageClass(descriptor.input_type)(**fields)
        response = await self.http.post(
            f"{self.base}/api/{service.full_name}/{method}",
            content=request.SerializeToString(),
            headers={"content-type": "application/proto"},
        )
        if response.status_code != 200:
            try:
                body = json.loads(response.content or b"{}")
            except ValueError:
                # The page of a proxy whose server does not answer.
                body = {"message": response.text}
                if response.status_code in (502, 503, 504):
                    body["code"] = "unavailable"
            code = body.get("code", str(response.status_code))
            raise CallFailed(code, body.get("message", ""), body.get("details", ()))
        return GetMessageClass(descriptor.output_type).FromString(response.content)


@dataclass
class ControlPlane:
    server: RunningServer
    console: Console

    @property
    def address(self) -> str:
        """Address of the gRPC port."""
        return f"127.0.0.1:{self.server.ports.grpc[0]}"

    @property
    def url(self) -> str:
        return self.console.base

    async def register_piped(self, name: str = "home") -> tuple[str, str]:
        """Register a piped and return its ID and key."""
        response = await self.console.call("RegisterPiped", name=name)
        return response.id, response.key


def spec(folder: Path, **more: Any) -> config.ControlPlaneSpec:
    """Configuration of a control plane that stores everything in `folder`."""
    projects = [
        {
            "id": name,
            "staticAdmin": {"username": USER, "passwordHash": PASSWORD_HASH},
        }
        for name in (PROJECT, "other")
    ]
    document = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "ControlPlane",
        "spec": {
            "address": "http://console.example",
            "datastore": {"type": "SQLITE", "config": {"path": str(folder / DATABASE)}},
            "filestore": {"type": "LOCAL", "config": {"path": str(folder / "objects")}},
            "projects": projects,
            **more,
        },
    }
    return config.load(json.dumps(document), "control-plane.yaml")


@asynccontextmanager
async def control_plane(
    folder: Path,
    *,
    ports: Sequence[int] = (0, 0),
    newcomer: Mapping[str, object] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    settings: Settings = DEFAULT_SETTINGS,
    with_jobs: bool = True,
    sign_in: bool = True,
    **more: Any,
) -> AsyncIterator[ControlPlane]:
    """Run a control plane, with a signed-in console. `ports` are gRPC and HTTP; `more` goes to `spec`."""
    if "datastore" not in more:
        create_sqlite_database(folder / DATABASE)
    options = Options(
        encryption_key=ENCRYPTION_KEY,
        host="127.0.0.1",
        grpc_ports=(ports[0],),
        http_port=ports[1],
        admin_port=0,
        insecure_cookie=True,
        grace_period=0.2,
        newcomer=newcomer,
        clock=clock,
        settings=settings,
        with_jobs=with_jobs,
    )
    async with controlplane.serving(spec(folder, **more), options) as server:
        console = Console(f"http://127.0.0.1:{server.ports.http}")
        async with console.http:
            if sign_in:
                await console.sign_in()
            yield ControlPlane(server, console)
