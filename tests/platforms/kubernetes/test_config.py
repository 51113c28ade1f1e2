"""What the application file of Kubernetes refuses, and which clusters its routes select."""

import pytest

from pipecd.config import application
from pipecd.errors import ConfigError
from pipecd.model.provider import NamedProvider
from pipecd.platforms.kubernetes import platform
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.source import DesiredState
from pipecd.platforms.kubernetes.targets import Target, assign, read_routes
from pipecd.platforms.stage_tables import application_types
from tests.platforms.kubernetes.stage_runner import config_map, deployment

FILE = """apiVersion: pipecd.dev/v1beta1
kind: KubernetesApp
spec:
  name: shop
  resourceRoutes:
"""
PROVIDERS = {"east": {"region": "east", "zone": "a"}, "west": {"region": "west", "zone": "a"}}
OWN = Target(name="own", provider=None)


def load(routes: str) -> application.ApplicationConfig:
    text = FILE + "".join(f"    {line}\n" for line in routes.splitlines())
    return application.load(text, "app.pipecd.yaml", lambda _: application_types(platform))


def find(name: str = "", *, labels: dict[str, str] | None = None) -> list[NamedProvider]:
    if name and name not in PROVIDERS:
        raise ConfigError(f"this agent has no KUBERNETES platform provider {name}", remedy="add it")
    wanted = (labels or {}).items()
    names = [name] if name else [other for other, its in PROVIDERS.items() if wanted <= its.items()]
    return [NamedProvider(name=found, config=Provider(context=found)) for found in names]


def assigned(routes: str) -> dict[str, list[str]]:
    """Cluster → the names of its objects."""
    manifests = [Manifest(body) for body in (deployment("web"), deployment("api"), config_map("web"))]
    found = assign(manifests, read_routes(load(routes)), OWN, find)  # type: ignore[arg-type]
    return {item.target.name: [str(manifest) for manifest in item.manifests] for item in found}


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("[]", {"own": ["Deployment web", "Deployment api", "ConfigMap web"]}),
        (
            "- {provider: {name: east}, match: {kind: Deployment}}",
            {"own": ["ConfigMap web"], "east": ["Deployment web", "Deployment api"]},
        ),
        (
            "- {provider: {name: east}, match: {kind: Deployment, name: api}}\n"
            "- {provider: {name: west}, match: {name: web}}",
            {"east": ["Deployment api"], "west": ["Deployment web", "ConfigMap web"]},
        ),
        (
            "- {provider: {name: own}, match: {kind: Deployment}}\n- {provider: {name: west}}",
            {"own": ["Deployment web", "Deployment api"], "west": ["ConfigMap web"]},
        ),
        (
            "- {provider: {labels: {zone: a}}, match: {kind: ConfigMap}}",
            {
                "own": ["Deployment web", "Deployment api"],
                "east": ["ConfigMap web"],
                "west": ["ConfigMap web"],
            },
        ),
        ("- {provider: {name: east}}\n- {provider: {name: west}}", {"east": ["*"]}),
    ],
)
def test_the_first_route_that_matches_decides(
    routes: str, expected: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROVIDERS, "own", {})
    every = ["Deployment web", "Deployment api", "ConfigMap web"]
    assert assigned(routes) == {name: every if names == ["*"] else names for name, names in expected.items()}


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        (
            "- {provider: {name: east}}\n- provider: {name: south}",
            "app.pipecd.yaml:7: spec.resourceRoutes[1].provider: this agent has no KUBERNETES platform"
            " provider south; add it",
        ),
        (
            "- provider: {labels: {zone: b}}",
            "app.pipecd.yaml:6: spec.resourceRoutes[0].provider: this agent has no KUBERNETES platform"
            " provider with the labels zone: b; add them to a provider in spec.platformProviders",
        ),
    ],
)
def test_a_provider_that_the_agent_lacks_is_an_error_of_the_plan(routes: str, message: str) -> None:
    desired = DesiredState(manifests=(), namespace="", routes=read_routes(load(routes)))
    with pytest.raises(ConfigError) as caught:
        platform.check_providers(desired, find)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ("- match: {kind: Secret}", "spec.resourceRoutes[0].provider: is missing"),
        ("- provider: {}", "name or labels of a platform provider must be given"),
    ],
)
def test_a_route_without_a_provider_is_refused_with_its_place(routes: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(routes)
    assert message in str(caught.value) and "app.pipecd.yaml:6" in str(caught.value)
