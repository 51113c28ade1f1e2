"""The Helm charts, rendered by Helm: their objects, and what they say about wrong values."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from pipecd import __version__
from pipecd.controlplane.cli import server
from pipecd.launcher.cli import command as launcher
from pipecd.piped.cli import command as piped
from pipecd.platforms.kubernetes.permissions import DEPLOYED_RESOURCES, READ_RESOURCES, _grants
from tests.deploy.charts import (
    CHARTS,
    NAMES,
    VALUES,
    HelmError,
    container,
    documented_values,
    helm,
    merged,
    of_kind,
    render,
    with_table,
)
from tests.platforms.kubernetes.helm import helm_directory

ROOT = Path(__file__).parents[2]
LAUNCHER = {"launcher": {"enabled": True, "image": {"repository": "registry.example.com/launcher"}}}
#: A configuration of the control plane for several servers.
SHARED_STORES = (
    VALUES["pipecd"]["config"]["data"] + "  datastore: {type: POSTGRESQL, config: {url: postgresql://db}}\n"
    "  filestore: {type: S3, config: {bucket: b}}\n"
)
#: All values of a released version, other than the defaults: later versions of the chart must accept them.
RELEASED = sorted(Path(__file__).with_name("charts_released").glob("*.json"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return helm_directory(tmp_path_factory) / "helm"


@pytest.mark.parametrize("chart", NAMES)
def test_version_is_that_of_the_release(program: Path, chart: str) -> None:
    definition = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    assert (definition["version"], definition["appVersion"]) == (__version__, __version__)
    assert container(render(program, chart))["image"].endswith(f":v{__version__}")


@pytest.mark.parametrize("chart", NAMES)
def test_chart_is_well_formed(program: Path, chart: str) -> None:
    output = helm(program, "lint", "--strict", str(CHARTS / chart), values=VALUES[chart])
    assert "0 chart(s) failed" in output and "[WARNING]" not in output


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield ".".join(path)


@pytest.mark.parametrize("chart", NAMES)
def test_every_value_is_documented(chart: str) -> None:
    assert with_table(chart) == (CHARTS / chart / "README.md").read_text(), (
        "python -m tests.deploy.charts writes the table"
    )
    documented = documented_values(chart)
    for leaf in leaves(yaml.safe_load((CHARTS / chart / "values.yaml").read_text())):
        parts = leaf.split(".")
        assert any(".".join(parts[:length]) in documented for length in range(1, len(parts) + 1)), leaf


@pytest.mark.parametrize("chart", NAMES)
def test_schema_has_the_values_and_no_others(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())

    def walk(schema: Any, values: Any, path: str) -> None:
        if schema.get("additionalProperties") is False and isinstance(values, dict):
            known = set(schema["properties"]) - {"global"}
            assert set(values) == known or path == ".resources", path
            for key in values:
                walk(schema["properties"][key], values[key], f"{path}.{key}")

    walk(schema, yaml.safe_load((CHARTS / chart / "values.yaml").read_text()), "")


ERRORS = [
    ("piped", {"replicas": 2}, "additional properties 'replicas' not allowed"),
    ("piped", {"rbac": {"scope": "all"}}, "at '/rbac/scope': value must be one of 'cluster', 'namespace'"),
    ("piped", {"resources": {"request": {}}}, "at '/resources': additional properties 'request' not allowed"),
    ("piped", {"args": {"gracePeriod": "30s"}}, "at '/args/gracePeriod': got string, want integer"),
    ("piped", {"image": {"repository": "piped:v1"}}, "at '/image/repository': 'piped:v1' does not match"),
    ("piped", {"image": {"repository": ""}}, "image.repository is empty: build and push the image `piped`"),
    ("piped", {"launcher": {"enabled": True}}, "launcher.image.repository is empty"),
    ("piped", {"config": {"data": ""}}, "config.data is empty: add --set-file config.data=piped.yaml"),
    ("piped", {"config": {"data": "a: ["}}, "config.data is not valid YAML"),
    (
        "piped",
        {"config": {"data": "kind: ControlPlane"}},
        "has the kind ControlPlane, but must be the agent's",
    ),
    ("piped", {"config": {"create": False}}, "config.name is empty"),
    ("piped", {"config": {"awsSecret": "a"}}, "config.data is set, and another source of the configuration"),
    (
        "piped",
        {"config": {"data": "", "awsSecret": "a", "awsSsmParameter": "b"}},
        "only one of config.awsSecret",
    ),
    (
        "piped",
        {"launcher": {"configFromGitRepo": {"enabled": True}}},
        "launcher.configFromGitRepo requires launcher.enabled=true",
    ),
    (
        "piped",
        {"args": {"addLoginUserToPasswd": True}},
        "set containerSecurityContext.readOnlyRootFilesystem=false",
    ),
    ("pipecd", {"replicas": 3}, "replicas is 3, but servers with a volume cannot share it"),
    ("pipecd", {"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
    ("pipecd", {"secret": {"data": {"encryption-key": ""}}}, "secret.data.encryption-key is missing"),
    ("pipecd", {"secret": {"create": False}}, "secret.name is empty"),
    ("pipecd", {"config": {"data": "kind: Piped"}}, "has the kind Piped, but must be the control plane's"),
    ("pipecd", {"persistence": {"enabled": False}}, "which needs a volume: set persistence.enabled=true"),
    (
        "pipecd",
        {"ingress": {"enabled": True}, "config": {"data": "kind: ControlPlane"}},
        "ingress.host is empty, and spec.address of config.data has none",
    ),
    ("pipecd", {"gatewayAPI": {"enabled": True}}, "gatewayAPI.parentRefs is empty: name the Gateway"),
]


@pytest.mark.parametrize(("chart", "values", "expected"), ERRORS, ids=[error for _, _, error in ERRORS])
def test_wrong_values_are_explained(program: Path, chart: str, values: Any, expected: str) -> None:
    with pytest.raises(HelmError) as error:
        render(program, chart, values)
    assert expected in str(error.value)


def parse(command: click.Command, arguments: list[str]) -> dict[str, Any]:
    """The parameters of a command line. Fails for unknown flags."""
    with command.make_context(arguments[0], arguments[1:]) as context:
        for extra in context.args:
            # What the launcher does not know, it passes to the agent.
            assert extra.split("=")[0] in {option for flag in piped.params for option in flag.opts}, extra
        return context.params


#: Values, and the parameters of agent and launcher that they set.
CONFIG_SOURCES = [
    ({}, "config_file", "config_file"),
    ({"config": {"data": "", "awsSecret": "arn:aws:s"}}, "config_aws_secret", "aws_secret_id"),
    (
        {"config": {"data": "", "awsSsmParameter": "/piped"}},
        "config_aws_ssm_parameter",
        "aws_ssm_parameter",
    ),
    (
        {"config": {"data": "", "gcpSecret": "projects/p/secrets/s/versions/1"}},
        "config_gcp_secret",
        "gcp_secret_id",
    ),
]


@pytest.mark.parametrize(
    ("values", "of_agent", "of_launcher"), CONFIG_SOURCES, ids=[name for _, name, _ in CONFIG_SOURCES]
)
def test_agent_and_launcher_accept_their_arguments(
    program: Path, values: Any, of_agent: str, of_launcher: str
) -> None:
    args = {"insecure": True, "certFile": "/etc/piped-secret/ca.pem", "extra": ["--home-dir=/home/pipecd"]}
    values = merged(values, {"args": args})
    agent = parse(piped, container(render(program, "piped", values))["args"])
    assert agent["insecure"] and agent["grace_period"] == 30.0
    assert agent["enable_default_kubernetes_cloud_provider"] is True
    sources = [name for _, name, _ in CONFIG_SOURCES]
    assert [name for name in sources if agent[name]] == [of_agent]
    more = {"releases": "s3://releases", "releaseKeyFile": "/etc/key.pem", "defaultVersion": "v0.2.0"}
    values = merged(merged(values, LAUNCHER), {"launcher": more})
    run = parse(launcher, container(render(program, "piped", values))["args"])
    assert run["releases"] == "s3://releases" and run["insecure"] and run["admin_port"] == 9085
    sources = [name for _, _, name in CONFIG_SOURCES]
    assert [name for name in sources if run[name]] == [of_launcher]
    switches = [name for name in run if name.startswith("config_from_") and run[name]]
    assert len(switches) == (0 if of_launcher == "config_file" else 1)


def test_launcher_reads_the_configuration_from_git(program: Path) -> None:
    git = {"enabled": True, "repoUrl": "git@example.com:a.git", "branch": "main", "configFile": "piped.yaml"}
    values = merged(LAUNCHER, {"launcher": {"configFromGitRepo": git}, "config": {"data": ""}})
    objects = render(program, "piped", values)
    run = parse(launcher, container(objects)["args"])
    assert run["config_from_git_repo"] and run["git_repo_url"] == git["repoUrl"] and not run["config_file"]
    assert [document["metadata"]["name"] for document in of_kind(objects, "Secret")] == ["piped-secret"]


def test_server_accepts_its_arguments(program: Path) -> None:
    values = {"tls": {"secretName": "tls"}, "insecureCookie": True, "extraArgs": ["--without-ops"]}
    run = parse(server, container(render(program, "pipecd", values))["args"])
    assert str(run["encryption_key_file"]) == "/etc/pipecd-secret/encryption-key"
    assert run["tls"] and run["insecure_cookie"] and run["without_ops"]


def test_a_change_of_the_configuration_restarts_the_agent_but_not_below_a_launcher(program: Path) -> None:
    def template(values: Any) -> Any:
        [deployment] = of_kind(render(program, "piped", values), "Deployment")
        return deployment["spec"]["template"]

    changed = {"config": {"data": VALUES["piped"]["config"]["data"] + "  syncInterval: 1m\n"}}
    assert template({}) != template(changed)
    assert template(LAUNCHER) == template(merged(LAUNCHER, changed))


@pytest.mark.parametrize("scope", ["cluster", "namespace"])
def test_role_has_what_the_agent_checks_at_its_start(program: Path, scope: str) -> None:
    objects = render(program, "piped", {"rbac": {"scope": scope, "namespaces": ["shop", "blog"]}})
    roles = of_kind(objects, "ClusterRole" if scope == "cluster" else "Role")
    assert [role["metadata"].get("namespace") for role in roles] == (
        [None] if scope == "cluster" else ["shop", "blog"]
    )
    for role in roles:
        for resource, verbs in {**READ_RESOURCES, **DEPLOYED_RESOURCES}.items():
            assert all(_grants(role["rules"], *resource, verb) for verb in verbs), resource
        assert not any("*" in value for rule in role["rules"] for value in rule.values())
        assert not any("rbac.authorization.k8s.io" in rule["apiGroups"] for rule in role["rules"])


def test_ingress_and_gateway_route_every_service(program: Path) -> None:
    services = {
        f"/{re.findall(r'^package (.*);', text, re.MULTILINE)[0]}.{name}"
        for folder in ("web", "agent", "api", "pipecd/v1")
        for file in (ROOT / "proto" / folder).glob("*.proto")
        for text in [file.read_text()]
        for name in re.findall(r"^service (\w+)", text, re.MULTILINE)
    }
    values = {"ingress": {"enabled": True, "tlsSecretName": "cert", "annotations": {"a": "b"}}}
    ingresses = {
        item["metadata"]["name"]: item for item in of_kind(render(program, "pipecd", values), "Ingress")
    }
    grpc, http = ingresses["pipecd-grpc"], ingresses["pipecd-http"]
    assert {path["path"] for path in grpc["spec"]["rules"][0]["http"]["paths"]} == {
        *services,
        "/grpc.health.v1.Health",
    }
    assert {rule["host"] for item in ingresses.values() for rule in item["spec"]["rules"]} == {
        "pipecd.example.com"
    }
    assert http["metadata"]["annotations"] == {"a": "b"} and http["spec"]["tls"][0]["secretName"] == "cert"
    assert grpc["metadata"]["annotations"]["nginx.ingress.kubernetes.io/backend-protocol"] == "GRPC"
    gateway = {"gatewayAPI": {"enabled": True, "parentRefs": [{"name": "public"}]}}
    [route] = of_kind(render(program, "pipecd", gateway), "HTTPRoute")
    assert {match["path"]["value"] for match in route["spec"]["rules"][0]["matches"]} >= services
    [service] = of_kind(render(program, "pipecd", gateway), "Service")
    assert [port.get("appProtocol") for port in service["spec"]["ports"]] == ["kubernetes.io/h2c", "http"]


def test_postgresql_and_a_bucket_need_no_volume(program: Path) -> None:
    changes = {"config": {"data": SHARED_STORES}, "persistence": {"enabled": False}}
    objects = render(program, "pipecd", changes)
    assert of_kind(objects, "PersistentVolumeClaim") == []


def test_several_servers_are_spread_and_replaced_one_by_one(program: Path) -> None:
    changes = {"config": {"data": SHARED_STORES}, "persistence": {"enabled": False}}
    assert not of_kind(render(program, "pipecd", changes), "PodDisruptionBudget"), "it would block drains"
    objects = render(program, "pipecd", {**changes, "replicas": 3})
    [deployment] = of_kind(objects, "Deployment")
    strategy = deployment["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    [budget] = of_kind(objects, "PodDisruptionBudget")
    selector = deployment["spec"]["selector"]
    assert budget["spec"] == {"maxUnavailable": 1, "selector": selector}
    pod = deployment["spec"]["template"]
    assert selector["matchLabels"].items() <= pod["metadata"]["labels"].items()
    spread = pod["spec"]["topologySpreadConstraints"]
    assert [constraint["labelSelector"] for constraint in spread] == [selector] * 2


def test_annotations_of_the_service_account_select_a_role_of_the_cloud(program: Path) -> None:
    annotation = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/piped"}
    for chart in NAMES:
        objects = render(program, chart, {"serviceAccount": {"annotations": annotation}})
        assert of_kind(objects, "ServiceAccount")[0]["metadata"]["annotations"] == annotation


def identities(objects: list[Any]) -> Any:
    """Names, and what an API server refuses to change."""

    def fixed(document: Any) -> Any:
        spec = document.get("spec", {})
        match document["kind"]:
            case "Deployment":
                return spec["selector"]
            case "PersistentVolumeClaim":
                return spec
            case _:
                return document.get("roleRef")

    found = {
        "/".join((item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])): fixed(item)
        for item in objects
    }
    return dict(sorted(found.items()))


@pytest.mark.parametrize("file", RELEASED, ids=[file.stem for file in RELEASED])
def test_values_of_a_former_version_still_apply(program: Path, file: Path) -> None:
    """An upgrade with them changes objects in place: no names, no fields that cannot be changed."""
    released = json.loads(file.read_text())
    objects = render(program, released["chart"], released["values"])
    assert identities(objects) == released["identities"]


def test_every_chart_has_recorded_values() -> None:
    assert {json.loads(file.read_text())["chart"] for file in RELEASED} == set(NAMES)
