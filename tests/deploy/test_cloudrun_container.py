"""The agent on Cloud Run without Cloud Run: the arguments of deploy/cloudrun, and no key of Google.

The launcher and the agent (as processes), the control plane and Git are real. Google is emulated: the
metadata server of a container, which issues the tokens of its account, Secret Manager, and Cloud Run.
"""

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipecd.quickstart.cloud_run import CloudRun, serve
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import CLOUDRUN
from tests.deploy.container import Container
from tests.platforms.cloudrun.conftest import service, shares
from tests.platforms.cloudrun.schema import check_body
from tests.ports import free_ports
from tests.programs import start_program
from tests.world import REPOSITORY, agent_spec, world

MODULE = Path(__file__).parents[2] / "deploy/cloudrun/terraform/main.tf"
SECRET = "projects/example/secrets/piped-config"
#: Cloud Run kills a container so many seconds after SIGTERM.
GRACE_PERIOD = 10.0


@dataclass
class Google:
    """The metadata server of a container, and Secret Manager with one secret."""

    payload: bytes
    port: int = 0
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str, authorization: str) -> Any:
        self.requests.append(path.partition("?")[0])
        match path.partition("?")[0]:
            case "/":
                return {}
            case "/computeMetadata/v1/project/project-id":
                return "example"
            case (
                "/computeMetadata/v1/universe/universe-domain"
                | "/computeMetadata/v1/universe/universe_domain"
            ):
                return "googleapis.com"
            case "/computeMetadata/v1/instance/service-accounts/default/":
                return {"email": "piped-agent@example.iam.gserviceaccount.com", "scopes": [], "aliases": []}
            case found if found.endswith("/token"):
                return {"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"}
            case found if (
                found == f"/v1/{SECRET}/versions/latest:access" and authorization == "Bearer granted"
            ):
                return {"payload": {"data": base64.b64encode(self.payload).decode()}}
        return None

    @contextmanager
    def serving(self) -> Iterator[None]:
        google = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = google.answer(self.path, self.headers.get("Authorization", ""))
                body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("Metadata-Flavor", "Google")
                self.send_header(
                    "Content-Type", "text/plain" if isinstance(answer, str) else "application/json"
                )
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_port
            Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            yield
            server.shutdown()


@pytest.mark.timeout(300)
async def test_an_agent_without_a_key_deploys_and_stops_in_time(tmp_path: Path) -> None:
    cloud = CloudRun(check_body=check_body)
    async with world(tmp_path / "world") as w:
        with serve(cloud) as endpoint:
            config = {"project": "demo", "region": "europe-west1", "endpoint": endpoint}
            google = Google(_configuration(w, config))
            with google.serving():
                await _run(w, google, cloud, tmp_path)


async def _run(w: Any, google: Google, cloud: CloudRun, folder: Path) -> None:
    # As in the module, but for what differs on a developer's machine.
    arguments = ["--config-from-gcp-secret=true", f"--gcp-secret-id={SECRET}/versions/latest"]
    for argument in ("--config-from-gcp-secret=true", "/versions/latest"):
        assert argument in MODULE.read_text()
    port = free_ports(1)[0]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GCE_METADATA_HOST": f"127.0.0.1:{google.port}",
        "GCE_METADATA_IP": f"127.0.0.1:{google.port}",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"http://127.0.0.1:{google.port}/",
    }
    log = folder / "container.log"
    process = start_program(
        ["launcher", *arguments, "--insecure=true", f"--admin-port={port}"],
        output=log,
        env=environment,
        cwd=folder,
    )
    try:
        container = Container(process=process, port=port, log=log)  # type: ignore[arg-type]
        await container.wait_until_healthy("v0.1.0")
        app = {"apiVersion": "pipecd.dev/v1beta1", "kind": "CloudRunApp", "spec": {"name": "shop"}}
        files = {"shop/app.pipecd.yaml": json.dumps(app), "shop/service.yaml": json.dumps(service("v1"))}
        await w.push("A service", files)
        deployed = await w.wait_for_deployment(await w.register("shop", kind=CLOUDRUN, provider="cloudrun"))
        assert deployed.status == DeploymentStatus.DEPLOYMENT_SUCCESS, deployed.status_reason
        assert shares(cloud) == {"v1": 100}
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 60) == 0
        assert time.monotonic() - started < GRACE_PERIOD
    finally:
        process.kill()
    assert f"/v1/{SECRET}/versions/latest:access" in google.requests


def _configuration(w: Any, provider: dict[str, str]) -> bytes:
    """With the piped key, and without a key of Google."""
    providers = [{"name": "cloudrun", "type": "CLOUDRUN", "config": provider}]
    remotes = {REPOSITORY: w.git.url(REPOSITORY)}
    document = agent_spec(w.plane.address, w.piped_id, Path("/none"), remotes, platformProviders=providers)
    del document["spec"]["pipedKeyFile"]
    document["spec"]["pipedKeyData"] = base64.b64encode(w.key.encode()).decode()
    return json.dumps(document).encode()
