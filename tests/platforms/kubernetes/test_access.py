"""Ways to reach a real API server: proxies, a pod's service account, cloud plugins, and files that change."""

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.errors import ConfigError, Temporary, Unauthenticated
from pipecd.platforms.connections import connection_pool
from pipecd.platforms.kubernetes.cluster.api import _open_socket, open_client
from pipecd.platforms.kubernetes.cluster.connection import connect
from pipecd.platforms.kubernetes.cluster.credentials import FAILURE_MAX_AGE, Credentials
from pipecd.platforms.kubernetes.cluster.errors import read_status
from pipecd.platforms.kubernetes.cluster.kubeconfig import Access, load_access
from pipecd.platforms.kubernetes.settings import ClientSettings
from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.conftest import Install
from tests.platforms.kubernetes.stage_runner import provider_of
from tests.platforms.kubernetes.test_api import user_of, write_config
from tests.virtual_clock import VirtualClock

#: `users` of a kubeconfig as each cloud's program writes them, with the command that gets a token.
PLUGINS = {
    # aws eks update-kubeconfig
    "aws": """
exec:
  apiVersion: client.authentication.k8s.io/v1beta1
  args: [--region, eu-west-1, eks, get-token, --cluster-name, shop, --output, json]
  command: aws
  env:
  - name: AWS_PROFILE
    value: deploy
""",
    # gcloud container clusters get-credentials
    "gke-gcloud-auth-plugin": """
exec:
  apiVersion: client.authentication.k8s.io/v1beta1
  command: gke-gcloud-auth-plugin
  installHint: Install gke-gcloud-auth-plugin for use with kubectl
  provideClusterInfo: true
""",
    # kubelogin convert-kubeconfig -l workloadidentity
    "kubelogin": """
exec:
  apiVersion: client.authentication.k8s.io/v1beta1
  args: [get-token, --login, workloadidentity, --server-id, 6dae42f8-4368-4678-94ff-3960e28e3630]
  command: kubelogin
  env: null
  interactiveMode: IfAvailable
  provideClusterInfo: false
""",
}


@pytest.mark.parametrize("program", PLUGINS)
async def test_plugins_of_clouds_authenticate(
    cluster: Cluster, tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = {
        "kind": "ExecCredential",
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "spec": {},
        "status": {"expirationTimestamp": "2999-11-27T10:00:00Z", "token": cluster.tokens["admin"]},
    }
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / program).write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(credential)}\nEND\n")
    (tmp_path / "bin" / program).chmod(0o755)
    user = yaml.safe_load(PLUGINS[program])
    # A machine may have the real ones.
    (tmp_path / "system").mkdir()
    for tool in ("sh", "cat"):
        (tmp_path / "system" / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    with pytest.raises(ConfigError, match=f"{program}.* is not installed"):
        await user_of(write_config(cluster, tmp_path / "one", user))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{tmp_path / 'system'}")
    assert await user_of(write_config(cluster, tmp_path / "two", user)) == "admin"


async def test_a_pod_uses_its_rotated_token(
    cluster: Cluster, namespace: str, install: Install, tmp_path: Path
) -> None:
    token = install("namespace")
    (tmp_path / "token").write_text("expired")
    (tmp_path / "namespace").write_text(namespace)
    (tmp_path / "ca.crt").write_bytes(cluster.ca_file.read_bytes())
    host, port = cluster.url.removeprefix("https://").split(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    access = load_access(environ=environ, service_account=tmp_path)
    async with open_client(access) as client:
        with pytest.raises(Unauthenticated, match="renew them in the agent's service account"):
            await client.get_json("/api")
        (tmp_path / "token").write_text(token)
        assert (await client.get_json("/api"))["kind"] == "APIVersions"
    assert await user_of(access) == f"system:serviceaccount:{namespace}:piped"


async def test_a_kubeconfig_that_changes_is_read_again(cluster: Cluster, tmp_path: Path) -> None:
    file, clock = tmp_path / "config", VirtualClock()
    access = write_config(cluster, file, {"token": "expired"})
    load = partial(load_access, path=str(file), environ={})
    async with open_client(access, clock=clock, load=load) as client:
        with pytest.raises(Unauthenticated):
            await client.get_json("/api")
        write_config(cluster, file, {"token": cluster.tokens["admin"]})
        assert (await client.get_json("/api"))["kind"] == "APIVersions"
        # A valid one is used until the next check of the file. What is half written is ignored.
        file.write_text("clusters: [")
        await clock.advance(60.0)
        await client.get_json("/api")
        moved = cluster.config({"token": cluster.tokens["admin"]})
        moved["clusters"][0]["cluster"]["server"] = "https://localhost:1"
        file.write_text(json.dumps(moved))
        await clock.advance(60.0)
        with pytest.raises(Temporary, match="https://localhost:1 cannot be reached"):
            await client.get_json("/api")


@contextlib.asynccontextmanager
async def connect_proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy for HTTPS: its URL with a password, and the requests that it got."""
    requests: list[str] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        requests.append(head)
        host, port = head.split()[1].rsplit(":", 1)
        upstream, to_server = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pipe(reader, to_server), pipe(upstream, writer))

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://deploy:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}", requests
        server.close()


async def test_a_proxy_is_used_with_its_password(cluster: Cluster, tmp_path: Path) -> None:
    config = cluster.config({"token": cluster.tokens["admin"]})
    async with connect_proxy() as (url, requests):
        config["clusters"][0]["cluster"]["proxy-url"] = url
        (tmp_path / "config").write_text(json.dumps(config))
        assert await user_of(load_access(path=str(tmp_path / "config"), environ={})) == "admin"
    [request] = requests
    assert request.startswith(f"CONNECT {cluster.url.removeprefix('https://')} HTTP/1.1")
    assert base64.b64encode(b"deploy:secret").decode() in request


async def test_master_url_replaces_the_server(cluster: Cluster, tmp_path: Path) -> None:
    config = cluster.config({"token": cluster.tokens["admin"]})
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "config").write_text(json.dumps(config))
    access = load_access(path=str(tmp_path / "config"), master_url=cluster.url, environ={})
    assert await user_of(access) == "admin"


def exec_access(tmp_path: Path, script: str) -> Access:
    (tmp_path / "login").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "login").chmod(0o755)
    user: dict[str, Any] = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "args": []}
    }
    config = {
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
        "users": [{"name": "a", "user": user}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    return load_access(path=str(tmp_path / "config"), environ={})


async def test_a_plugin_is_bounded_in_size_and_time(tmp_path: Path) -> None:
    endless = Credentials(exec_access(tmp_path, "yes"), VirtualClock())
    with pytest.raises(ConfigError, match="login printed more than 1 MiB"):
        await endless.login()
    clock, hangs = VirtualClock(), exec_access(tmp_path, "echo x >> runs; exec sleep 60")
    hanging = Credentials(hangs, clock, settings=ClientSettings(exec_timeout=0.2))
    with contextlib.chdir(tmp_path):
        for _ in range(3):
            with pytest.raises(Temporary, match="did not print credentials within"):
                await hanging.login()
        assert len((tmp_path / "runs").read_text().splitlines()) == 1, "all who wait get the same error"
        await clock.advance(FAILURE_MAX_AGE)
        with pytest.raises(Temporary):
            await hanging.login()
        assert len((tmp_path / "runs").read_text().splitlines()) == 2
    noisy = Credentials(exec_access(tmp_path, "printf '\\033[31mdenied\\033[0m\\n' >&2; exit 3"), clock)
    with pytest.raises(Unauthenticated, match=r"exited with 3: denied$"):
        await noisy.login()


async def test_credentials_that_are_expired_when_printed_are_not_asked_for_again_at_once(
    tmp_path: Path,
) -> None:
    status = {"token": "t", "expirationTimestamp": "2001-01-01T00:00:00Z"}
    printed = {
        "kind": "ExecCredential",
        "apiVersion": "client.authentication.k8s.io/v1",
        "status": status,
    }
    found = Credentials(exec_access(tmp_path, f"echo '{json.dumps(printed)}'"), VirtualClock())
    assert await found.login() is await found.login()


def test_a_connection_notices_that_the_other_side_is_gone() -> None:
    with _open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", 7.0), ("1e12", 300.0), ("inf", None), ("nan", None), ("-1", 0.0), ("Fri, 27 Nov 2026", None)],
)
def test_a_server_cannot_ask_for_an_endless_delay(header: str, expected: float | None) -> None:
    assert read_status(429, b"busy", header).retry_after == expected


async def test_the_connection_of_a_cluster_outlives_errors_and_time(cluster: Cluster) -> None:
    """Watches use it for days, and a stage that fails must not end them."""
    clock = VirtualClock()
    async with connection_pool(clock), connect(provider_of(cluster)) as watching:
        with pytest.raises(Temporary):
            async with connect(provider_of(cluster)):
                raise Temporary("a request failed")
        await clock.advance(30 * 86_400.0)
        async with connect(provider_of(cluster)) as later:
            assert later is watching
