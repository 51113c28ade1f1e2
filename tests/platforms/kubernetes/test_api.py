"""The client of the API, against a real API server."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pipecd.errors import (
    AlreadyExists,
    ConfigError,
    Conflict,
    NotFound,
    PermissionDenied,
    Temporary,
    Unauthenticated,
)
from pipecd.platforms.kubernetes.cluster.api import ApiClient, open_client
from pipecd.platforms.kubernetes.cluster.credentials import Credentials
from pipecd.platforms.kubernetes.cluster.discovery import Discovery, UnknownKind
from pipecd.platforms.kubernetes.cluster.errors import Rejected
from pipecd.platforms.kubernetes.cluster.kubeconfig import Access, load_access
from pipecd.platforms.kubernetes.cluster.types import ResourceType
from pipecd.platforms.kubernetes.settings import ClientSettings
from pipecd.quickstart.simulated_cluster.certificates import Authority
from tests.cluster.control_plane import Cluster
from tests.platforms.kubernetes.widgets import define_widgets
from tests.trace_collector import recorded
from tests.virtual_clock import VirtualClock

CONFIG_MAPS = ResourceType(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def write_config(cluster: Cluster, file: Path, user: dict[str, Any]) -> Access:
    file.write_text(json.dumps(cluster.config(user)))
    return load_access(path=str(file), environ={})


async def user_of(access: Access) -> str:
    """The name of the client at the API server."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with open_client(access) as client:
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = await client.decode(await client.send("POST", path, body=review))
    return str(answer["status"]["userInfo"]["username"])


# Objects


async def test_an_object_is_applied_changed_and_deleted(client: ApiClient, namespace: str) -> None:
    created = await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", x="1", y="1"), manager="one")
    await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", x="2"), manager="one")
    found = await client.get(CONFIG_MAPS, namespace, "a")
    assert found["data"] == {"x": "2"}
    uid = created.object["metadata"]["uid"]
    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAPS, namespace, "a", uid="another")
    await client.delete(CONFIG_MAPS, namespace, "a", uid=uid)
    with pytest.raises(NotFound, match='configmaps "a" not found'):
        await client.get(CONFIG_MAPS, namespace, "a")


async def test_requests_are_spans_of_the_trace(client: ApiClient, namespace: str) -> None:
    async with recorded() as spans:
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAPS, namespace, "missing")
    request, test = spans
    assert (request.name, request.parent) == ("kubernetes GET", test.id)
    assert request.attributes["url.path"].endswith(f"/namespaces/{namespace}/configmaps/missing")


async def test_metadata_is_read_without_the_content(client: ApiClient, namespace: str) -> None:
    await client.create(CONFIG_MAPS, namespace, config_map("a", x="1"), manager="one")
    found = await client.get(CONFIG_MAPS, namespace, "a", metadata_only=True)
    assert (found["apiVersion"], found["kind"], found["metadata"]["name"]) == ("v1", "ConfigMap", "a")
    assert "data" not in found


async def test_a_dry_run_changes_nothing(client: ApiClient, namespace: str) -> None:
    before = await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", x="1"), manager="one")
    dry = await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", x="2"), manager="one", dry_run=True)
    assert dry.object["data"] == {"x": "2"}
    assert await client.get(CONFIG_MAPS, namespace, "a") == before.object


async def test_a_conflict_names_the_manager_and_the_field(client: ApiClient, namespace: str) -> None:
    await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", x="1"), manager="helm")
    with pytest.raises(Conflict, match=r'conflict with "helm".*\.data\.x'):
        await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", x="2"), manager="one", force=False)


async def test_create_and_replace_respect_what_is_there(client: ApiClient, namespace: str) -> None:
    created = await client.create(CONFIG_MAPS, namespace, config_map("a", x="1"), manager="one")
    with pytest.raises(AlreadyExists):
        await client.create(CONFIG_MAPS, namespace, config_map("a"), manager="one")
    await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", y="1"), manager="two")
    with pytest.raises(Conflict, match="the object has been modified"):
        await client.replace(CONFIG_MAPS, namespace, "a", created.object, manager="one")
    replaced = await client.replace(CONFIG_MAPS, namespace, "a", config_map("a", z="1"), manager="one")
    assert replaced.object["data"] == {"z": "1"}


async def test_a_patch_of_an_object_that_changed_is_a_conflict(client: ApiClient, namespace: str) -> None:
    created = await client.create(CONFIG_MAPS, namespace, config_map("a", x="1"), manager="one")
    version = created.object["metadata"]["resourceVersion"]
    await client.apply(CONFIG_MAPS, namespace, "a", config_map("a", y="1"), manager="two")
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "remove", "path": "/data/x"},
    ]
    with pytest.raises(Conflict, match="a was changed by another program"):
        await client.json_patch(CONFIG_MAPS, namespace, "a", operations)


async def test_an_unknown_field_is_refused(client: ApiClient, namespace: str) -> None:
    body = {**config_map("a"), "dat": {"x": "1"}}
    with pytest.raises(Rejected, match=r"\.dat: field not declared in schema"):
        await client.apply(CONFIG_MAPS, namespace, "a", body, manager="one")
    with pytest.raises(Rejected, match='unknown field "dat"'):
        await client.create(CONFIG_MAPS, namespace, body, manager="one")


async def test_warnings_of_the_server_are_returned(
    client: ApiClient, discovery: Discovery, namespace: str
) -> None:
    pods = await discovery.find("v1", "Pod")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {
            "containers": [{"name": "a", "image": "a", "env": [{"name": "A"}, {"name": "A", "value": "1"}]}]
        },
    }
    answer = await client.create(pods, namespace, pod, manager="one", dry_run=True)
    assert any("hides previous definition" in warning for warning in answer.warnings)


async def test_a_list_is_read_to_its_last_page(cluster: Cluster, namespace: str) -> None:
    access = load_access(path=str(cluster.kubeconfig))
    async with open_client(access, settings=ClientSettings(page_size=1)) as client:
        for name in "abc":
            await client.create(CONFIG_MAPS, namespace, config_map(name, x="1"), manager="one")
        found = await client.list(CONFIG_MAPS, namespace)
        assert [(item["kind"], item["metadata"]["name"], item["data"]) for item in found] == [
            ("ConfigMap", name, {"x": "1"}) for name in "abc"
        ]
        assert await client.list(CONFIG_MAPS, namespace, label_selector="none=such") == []
        metadata = await client.list(CONFIG_MAPS, namespace, metadata_only=True)
        assert [item.get("data") for item in metadata] == [None, None, None]


async def test_an_answer_is_limited_in_size(cluster: Cluster) -> None:
    access = load_access(path=str(cluster.kubeconfig))
    async with open_client(access, settings=ClientSettings(max_response_size=100_000)) as client:
        with pytest.raises(Temporary, match="is larger than 0 MiB"):
            await client.get_json("/openapi/v2")


# Kinds


@pytest.mark.parametrize("aggregated", [True, False])
async def test_discovery_finds_kinds_with_both_protocols(client: ApiClient, aggregated: bool) -> None:
    found = Discovery(client, aggregated=aggregated)
    deployments = await found.find("apps/v1", "Deployment")
    assert deployments.path("shop", "web", "scale") == "/apis/apps/v1/namespaces/shop/deployments/web/scale"
    assert deployments.namespaced and {"get", "list", "watch", "patch"} <= deployments.verbs
    assert deployments.has_status and not (await found.find("v1", "ConfigMap")).has_status
    namespaces = await found.find("v1", "Namespace")
    assert namespaces.path("ignored", "shop") == "/api/v1/namespaces/shop"
    kinds = {(kind.api_version, kind.kind) for kind in await found.types()}
    assert {("v1", "Pod"), ("apps/v1", "Deployment"), ("batch/v1", "CronJob")} <= kinds
    with pytest.raises(UnknownKind, match=r"the cluster has no Deployment in apps/v1beta1; it has: apps/v1"):
        await found.find("apps/v1beta1", "Deployment")


async def test_a_kind_is_found_as_soon_as_it_is_defined(
    cluster: Cluster, client: ApiClient, namespace: str
) -> None:
    group = f"{namespace}.example.com"
    discovery = Discovery(client)
    with pytest.raises(UnknownKind, match=r"has no kind Doodad .*install its CustomResourceDefinition"):
        await discovery.find(f"{group}/v1", "Doodad")
    define_widgets(cluster, group, kind="Doodad")
    await discovery.refresh()
    widgets = await discovery.find(f"{group}/v1", "Doodad")
    assert widgets.path("a", "b") == f"/apis/{group}/v1/namespaces/a/widgets/b"


async def test_unchanged_kinds_are_not_sent_again(client: ApiClient) -> None:
    discovery = Discovery(client)
    await discovery.refresh()
    sizes: dict[str, int] = {}
    send = client.send

    async def measured(method: str, path: str, **options: Any) -> Any:
        response = await send(method, path, **options)
        sizes[path] = len(response.body)
        return response

    client.send = measured  # type: ignore[method-assign]
    await discovery.refresh()
    # Other tests' definitions can change "/apis", which is read beside it.
    assert sizes["/api"] == 0, f"the core group never changes, {sizes}"


# Credentials


async def test_a_token_and_a_token_file_are_accepted(cluster: Cluster, tmp_path: Path) -> None:
    token = cluster.tokens["admin"]
    assert await user_of(write_config(cluster, tmp_path / "one", {"token": token})) == "admin"
    (tmp_path / "token").write_text(f"{token}\n")
    assert await user_of(write_config(cluster, tmp_path / "two", {"tokenFile": "token"})) == "admin"


async def test_client_certificates_are_files_or_data(cluster: Cluster, tmp_path: Path) -> None:
    key, certificate = Authority.load(cluster.directory).issue("robot", groups=["system:masters"])
    (tmp_path / "client.key").write_bytes(key)
    (tmp_path / "client.crt").write_bytes(certificate)
    files = {"client-key": "client.key", "client-certificate": "client.crt"}
    assert await user_of(write_config(cluster, tmp_path / "one", files)) == "robot"
    data = {
        "client-key-data": base64.b64encode(key).decode(),
        "client-certificate-data": base64.b64encode(certificate).decode(),
    }
    assert await user_of(write_config(cluster, tmp_path / "two", data)) == "robot"


async def test_the_client_can_act_as_another_user(cluster: Cluster, tmp_path: Path) -> None:
    user = {"token": cluster.tokens["admin"], "as": "jane", "as-groups": ["a", "b"]}
    assert await user_of(write_config(cluster, tmp_path / "one", user)) == "jane"


def exec_user(command: str = "./login", **changes: Any) -> dict[str, Any]:
    config = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
        "args": ["eks", "shop"],
        "env": [{"name": "PROFILE", "value": "robot"}],
        "provideClusterInfo": True,
        "interactiveMode": "IfAvailable",
    }
    return {"exec": {**config, **changes}}


def write_login(directory: Path, status: dict[str, Any], *, version: str = "v1") -> Path:
    """A program that prints credentials, and records how it was called."""
    credential = {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "kind": "ExecCredential",
        "status": status,
    }
    (directory / "credential.json").write_text(json.dumps(credential))
    program = directory / "login"
    program.write_text(
        '#!/bin/sh\ncd "$(dirname "$0")"\n'
        'echo "$* $PROFILE $KUBERNETES_EXEC_INFO" >> runs\nexec cat credential.json\n'
    )
    program.chmod(0o755)
    return directory / "runs"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_an_exec_program_gives_a_token(cluster: Cluster, tmp_path: Path, version: str) -> None:
    runs = write_login(tmp_path, {"token": cluster.tokens["admin"]}, version=version)
    api_version = f"client.authentication.k8s.io/{version}"
    access = write_config(cluster, tmp_path / "config", exec_user(apiVersion=api_version))
    assert await user_of(access) == "admin"
    [run] = runs.read_text().splitlines()
    arguments, _, info = run.partition(" robot ")
    assert arguments == "eks shop"
    described = json.loads(info)
    assert (described["apiVersion"], described["kind"]) == (api_version, "ExecCredential")
    assert described["spec"]["cluster"]["server"] == cluster.url
    ca = base64.b64decode(described["spec"]["cluster"]["certificate-authority-data"])
    assert ca == cluster.ca_file.read_bytes()


async def test_an_exec_program_gives_a_client_certificate(cluster: Cluster, tmp_path: Path) -> None:
    key, certificate = Authority.load(cluster.directory).issue("robot")
    status = {"clientKeyData": key.decode(), "clientCertificateData": certificate.decode()}
    write_login(tmp_path, status)
    assert await user_of(write_config(cluster, tmp_path / "config", exec_user())) == "robot"


async def test_an_exec_program_is_run_again_shortly_before_its_credentials_expire(
    cluster: Cluster, tmp_path: Path
) -> None:
    runs = write_login(tmp_path, {"token": "t", "expirationTimestamp": "2023-11-14T23:13:20Z"})
    # 2023-11-14T22:13:20Z, an hour earlier.
    clock = VirtualClock(1_700_000_000.0)
    credentials = Credentials(write_config(cluster, tmp_path / "config", exec_user()), clock)
    first = await credentials.login()
    await clock.advance(3569.0)
    assert await credentials.login() is first
    await clock.advance(1.0)
    again = await asyncio.gather(*(credentials.login() for _ in range(5)))
    assert len(runs.read_text().splitlines()) == 2
    assert again[0] is not first and again[0].tls is first.tls, "connections are kept"


async def test_a_refused_token_is_renewed_once(cluster: Cluster, tmp_path: Path) -> None:
    runs = write_login(tmp_path, {"token": "expired"})
    access, clock = write_config(cluster, tmp_path / "config", exec_user()), VirtualClock()
    async with open_client(access, clock=clock) as client:
        for _ in range(3):
            with pytest.raises(
                Unauthenticated, match=r"rejects the agent's credentials: .*; renew them in /"
            ):
                await client.get_json("/version/../api")
        assert len(runs.read_text().splitlines()) == 2, "it is not run again for each request"
        write_login(tmp_path, {"token": cluster.tokens["admin"]})
        await clock.advance(10.0)
        assert (await client.get_json("/api"))["kind"] == "APIVersions"


async def test_a_rotated_token_file_is_read_again(cluster: Cluster, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(cluster.tokens["admin"])
    access = write_config(cluster, tmp_path / "config", {"tokenFile": "token"})
    clock = VirtualClock()
    credentials = Credentials(access, clock)
    first = await credentials.login()
    token.write_text("rotated")
    assert await credentials.login() is first
    await clock.advance(60.0)
    assert ("Authorization", "Bearer rotated") in (await credentials.login()).headers


@pytest.mark.parametrize(
    ("user", "status", "error", "message"),
    [
        (exec_user(), {}, Unauthenticated, "printed no token and no certificate"),
        (exec_user("./none", installHint="Install it."), {}, ConfigError, "is not installed; Install it."),
        (exec_user("false"), {}, Unauthenticated, "the exec program false exited with 1: no message"),
        (exec_user("echo"), {}, Unauthenticated, "echo did not print an ExecCredential"),
        (
            exec_user("sh", args=["-c", "head -c 100000 /dev/zero | tr '\\0' '['"]),
            {},
            Unauthenticated,
            "sh did not print an ExecCredential",
        ),
        (exec_user(interactiveMode="Always"), {}, ConfigError, "login requires a terminal"),
        (
            exec_user(apiVersion="client.authentication.k8s.io/v1alpha1"),
            {},
            ConfigError,
            "login uses client.authentication.k8s.io/v1alpha1",
        ),
        (
            exec_user(apiVersion="client.authentication.k8s.io/v1beta1"),
            {"token": "t"},
            Unauthenticated,
            "printed client.authentication.k8s.io/v1, and the kubeconfig names",
        ),
        ({"token": "a\nb"}, {}, ConfigError, "the token contains control characters"),
        ({"client-key-data": "?"}, {}, ConfigError, "is not base64"),
        ({"client-key-data": "YQ=="}, {}, ConfigError, "a certificate or key is invalid"),
        ({"tokenFile": "missing"}, {}, ConfigError, "missing cannot be read: No such file or directory"),
    ],
)
async def test_wrong_credentials_are_explained(
    tmp_path: Path, user: dict[str, Any], status: dict[str, Any], error: type[Exception], message: str
) -> None:
    write_login(tmp_path, status)
    with pytest.raises(error) as raised:
        config = {
            "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
            "users": [{"name": "a", "user": user}],
        }
        (tmp_path / "config").write_text(json.dumps(config))
        await Credentials(load_access(path=str(tmp_path / "config"), environ={}), VirtualClock()).login()
    assert message in str(raised.value)


async def test_a_missing_permission_names_what_to_grant(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    user = {"token": cluster.tokens["admin"], "as": "jane"}
    async with open_client(write_config(cluster, tmp_path / "config", user)) as client:
        with pytest.raises(
            PermissionDenied, match=r'User "jane" cannot create resource "configmaps".*; grant the agent'
        ):
            await client.create(CONFIG_MAPS, namespace, config_map("a"), manager="one")


# The connection


async def test_a_certificate_of_another_authority_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "other.crt").write_bytes(Authority.create().certificate_pem)
    config = cluster.config({"token": "t"})
    config["clusters"][0]["cluster"]["certificate-authority"] = "other.crt"
    (tmp_path / "config").write_text(json.dumps(config))
    access = load_access(path=str(tmp_path / "config"))
    async with open_client(access) as client:
        with pytest.raises(ConfigError, match=r"certificate is not trusted: .*; correct the certificate"):
            await client.get_json("/version")
    insecure = replace(access, insecure=True, token=cluster.tokens["admin"])
    async with open_client(insecure) as client:
        assert (await client.get_json("/version"))["gitVersion"] == "v1.37.2"


async def test_the_name_in_the_certificate_can_differ_from_the_address(cluster: Cluster) -> None:
    access = load_access(path=str(cluster.kubeconfig))
    async with open_client(replace(access, tls_server_name="localhost")) as client:
        await client.get_json("/version")
    async with open_client(replace(access, tls_server_name="other")) as client:
        with pytest.raises(ConfigError, match="certificate is not trusted"):
            await client.get_json("/version")


async def test_a_server_that_is_away_is_a_temporary_error(unused_tcp_port: int) -> None:
    access = Access(server=f"http://127.0.0.1:{unused_tcp_port}", origin="test")
    async with open_client(access) as client:
        with pytest.raises(Temporary, match="cannot be reached"):
            await client.get_json("/version")


@asynccontextmanager
async def fake_proxy(*answers: web.Response) -> AsyncIterator[str]:
    """A server in front of an API server that answers itself, one after another. Yields its URL."""
    remaining = list(answers)

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return remaining.pop(0) if len(remaining) > 1 else remaining[0]

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "message", "after"),
    [
        (429, {"Retry-After": "7"}, "slow down", Temporary, "is busy: HTTP status 429: slow down", 7.0),
        (429, {}, "", Temporary, "is busy", 5.0),
        (503, {"Retry-After": "2"}, "<html>", Temporary, "failed: HTTP status 503: <html>", 2.0),
        (200, {}, "<html>", Temporary, "did not answer with JSON: is it an API server?", None),
        (302, {"Location": "https://login.example"}, "", Rejected, "HTTP status 302", None),
        (401, {}, "", Unauthenticated, "rejects the agent's credentials", None),
    ],
)
async def test_answers_of_proxies_are_explained(
    status: int, headers: dict[str, str], body: str, error: type[Exception], message: str, after: float | None
) -> None:
    async with (
        fake_proxy(web.Response(status=status, headers=headers, text=body)) as url,
        open_client(Access(server=url, origin="test")) as client,
    ):
        with pytest.raises(error) as raised:
            await client.get_json("/api")
    assert message in str(raised.value)
    assert getattr(raised.value, "after", None) == after


async def test_a_request_is_sent_again_when_a_busy_server_asks_for_it() -> None:
    busy = [web.Response(status=429, headers={"Retry-After": "0"}) for _ in range(3)]
    async with (
        fake_proxy(*busy, web.json_response({"kind": "APIVersions"})) as url,
        open_client(Access(server=url, origin="test")) as client,
    ):
        assert await client.get_json("/api") == {"kind": "APIVersions"}
