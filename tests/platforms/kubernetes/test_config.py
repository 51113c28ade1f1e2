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


PIPELINE = """apiVersion: pipecd.dev/v1beta1
kind: KubernetesApp
spec:
  name: shop
  trafficRouting:
    method: {method}
  pipeline:
    stages:
{stages}
"""
CANARY = "- name: K8S_CANARY_ROLLOUT"


def load_pipeline(
    *stages: str, method: str = "istio", deployed: bool = False
) -> application.ApplicationConfig:
    lines = "\n".join(f"      {line}" for stage in stages for line in stage.splitlines())
    text = PIPELINE.format(method=method, stages=lines)
    return application.load(text, "app.pipecd.yaml", lambda _: application_types(platform), deployed=deployed)


def routing(options: str, name: str = "K8S_TRAFFIC_ROUTING") -> str:
    return f"- name: {name}\n  with: {{{options}}}"


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ("all: canary, primary: 70", (0, 100, 0)),
        ("canary: 20", (80, 20, 0)),
        ("primary: 50%, canary: '30', baseline: 20", (50, 30, 20)),
        ("primary: 100", (100, 0, 0)),
        ("", (100, 0, 0)),
        ("steps: [{canary: 5, for: 2m}, {canary: 50}]", (50, 50, 0)),
    ],
)
def test_shares_of_traffic(options: str, shares: tuple[int, ...]) -> None:
    config = load_pipeline(CANARY, "- name: K8S_BASELINE_ROLLOUT", routing(options))
    assert tuple(config.spec.pipeline.stages[2].options.shares.values()) == shares


@pytest.mark.parametrize(
    ("stages", "method", "message", "line"),
    [
        ([CANARY, routing("primary: 50, canary: 20")], "istio", "sum to 70, not to 100", 11),
        ([CANARY, routing("canary: 60, baseline: 60")], "istio", "sum to 120, not to 100", 11),
        ([CANARY, routing("canary: 120")], "istio", "120 is not a percentage", 11),
        ([CANARY, routing("all: stable")], "istio", "is not one of", 11),
        ([CANARY, routing("all: canary, steps: [{canary: 5}]")], "istio", "steps cannot be combined", 11),
        ([routing("canary: 20")], "istio", "no stage before has started it; add K8S_CANARY_ROLLOUT", 10),
        (
            [CANARY, "- name: K8S_CANARY_CLEAN", routing("canary: 20")],
            "istio",
            "no stage before has started it",
            12,
        ),
        ([CANARY, routing("baseline: 20")], "istio", "add K8S_BASELINE_ROLLOUT before", 11),
        ([CANARY, routing("canary: 20")], "podselector", "podselector cannot split traffic", 11),
        ([CANARY, routing("steps: [{canary: 20}, {canary: 100}]")], "podselector", "cannot split", 11),
        ([CANARY, routing("all: canary")], "gateway", "set createService: true in K8S_CANARY_ROLLOUT", 11),
        (
            [CANARY, routing("all: canary, canaryMatch: {headers: {a: b}}")],
            "podselector",
            "cannot route requests by their headers",
            11,
        ),
        ([CANARY + "\n  with: {replicas: many}"], "istio", "is not a number of replicas", 10),
        (
            [CANARY + "\n  with: {patches: [{target: {kind: A, name: b}, ops: [{path: '$['}]}]}"],
            "istio",
            "is not a path, at",
            10,
        ),
    ],
)
def test_pipelines_that_cannot_work_are_refused_with_their_line(
    stages: list[str], method: str, message: str, line: int
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(*stages, method=method)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"app.pipecd.yaml:{line}: spec.pipeline.stages[{len(stages) - 1}]")


def test_what_is_deployed_can_be_rolled_back_to_whatever_its_pipeline_was() -> None:
    """PipeCD's agent deploys files that this agent would refuse."""
    config = load_pipeline(routing("primary: 50, canary: 20"), routing("canary: 20"), deployed=True)
    first, second = config.spec.pipeline.stages
    assert first.options is None and second.options.shares["canary"] == 20


@pytest.mark.parametrize("prefix", ["K8S_", "K8S_MULTI_"])
def test_names_of_stages_of_all_versions_of_pipecd(prefix: str) -> None:
    names = ["CANARY_ROLLOUT", "BASELINE_ROLLOUT", "TRAFFIC_ROUTING", "PRIMARY_ROLLOUT", "SYNC"]
    names += ["CANARY_CLEAN", "BASELINE_CLEAN"]
    config = load_pipeline(*(f"- name: {prefix}{name}" for name in names))
    assert [stage.name for stage in config.spec.pipeline.stages] == [f"{prefix}{name}" for name in names]
    assert platform.stages[f"{prefix}SYNC"] is platform.stages["K8S_SYNC"]
