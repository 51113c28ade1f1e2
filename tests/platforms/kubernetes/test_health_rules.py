"""Rules of custom kinds: the library, and those of a platform provider."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecd.config import piped as config
from pipecd.errors import ConfigError
from pipecd.piped.platform_availability import check_provider_configs
from pipecd.platforms.kubernetes.config import Provider
from pipecd.platforms.kubernetes.health import cel, custom
from pipecd.platforms.kubernetes.health.custom import CustomRule, library
from pipecd.platforms.kubernetes.health.rules import HealthRules
from pipecd.platforms.kubernetes.health.states import Ready, State, Waiting
from pipecd.platforms.kubernetes.settings import StageSettings
from tests.cluster.control_plane import Cluster
from tests.platforms.aws.stage_runner import assert_succeeded, failure_text
from tests.platforms.kubernetes.stage_runner import Shop
from tests.platforms.kubernetes.widgets import define_widgets

OBJECTS = yaml.safe_load(Path(__file__).with_name("health_objects.yaml").read_text())
READY = "status.conditions.exists(e, e.type == 'Ready' && e.status == 'True')"


def live_object(kind: str, **fields: Any) -> dict[str, Any]:
    group, _, name = kind.rpartition("/")
    metadata = {"name": "a", "generation": 2, "managedFields": [{"manager": "a"}]}
    return {"apiVersion": f"{group}/v1", "kind": name, "metadata": metadata, **fields}


@pytest.mark.parametrize("entry", OBJECTS, ids=lambda entry: entry["kinds"][0])
def test_the_library_judges_objects_as_their_controllers_write_them(entry: Any) -> None:
    rules = HealthRules()
    for kind in entry["kinds"]:
        assert rules.state_of(live_object(kind, **entry["healthy"])) == Ready(), kind
        if entry["inProgress"] != []:
            state = rules.state_of(live_object(kind, **entry["inProgress"]))
            assert isinstance(state, Waiting) and not state.problem, kind
        state = rules.state_of(live_object(kind, **entry["failed"]))
        assert isinstance(state, Waiting) and state.problem, kind
        assert state.problem == entry.get("reason", state.problem), kind


def test_every_kind_of_the_library_has_test_objects() -> None:
    shown = {kind for entry in OBJECTS for kind in entry["kinds"]}
    assert shown == {"/".join(kind) for kind in library()}


def judge(rule: CustomRule, status: Any = None, **fields: Any) -> State:
    rules = HealthRules({("example.com", "Widget"): rule})
    return rules.state_of(live_object("example.com/Widget", **fields, status=status or {}))


def test_expressions_are_evaluated_in_the_order_of_flux() -> None:
    rule = CustomRule(in_progress="status.a", failed="status.b", current="status.c")
    assert judge(rule, {"a": True, "b": True, "c": True, "message": "creating"}) == Waiting("creating")
    assert judge(rule, {"a": False, "b": True, "c": True, "phase": "Lost"}) == Waiting("Lost", problem="Lost")
    assert judge(rule, {"a": False, "b": False, "c": True}) == Ready()
    assert judge(rule, {"a": False, "b": False, "c": False}) == Waiting("it is not ready yet")


@pytest.mark.parametrize("current", [READY, "status.?phase.orValue('') == 'up'", "has(status.phase)"])
def test_a_field_that_is_missing_means_in_progress(current: str) -> None:
    assert isinstance(judge(CustomRule(current=current)), Waiting)


def test_a_status_of_an_older_generation_counts_only_where_the_rule_says_so() -> None:
    status = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}
    assert judge(CustomRule(current=READY), status) == Waiting("the controller has not seen the change yet")
    assert judge(CustomRule(current=READY, ignore_generation=True), status) == Ready()


def test_a_rule_of_the_provider_replaces_that_of_the_library_and_of_kubernetes() -> None:
    rule = CustomRule(current="true", ignore_generation=True)
    rules = HealthRules({("cert-manager.io", "Certificate"): rule, ("apps", "Deployment"): rule})
    assert rules.state_of(live_object("cert-manager.io/Certificate")) == Ready()
    assert rules.state_of(live_object("apps/Deployment")) == Ready()


def test_stages_wait_for_kinds_with_a_rule() -> None:
    rules = HealthRules({("example.com", "Widget"): CustomRule(current="true")})
    assert rules.is_waited_for("example.com/v1beta1", "Widget")
    assert rules.is_waited_for("cert-manager.io/v1", "Certificate")
    assert rules.is_waited_for("apps/v1", "Deployment")
    assert not rules.is_waited_for("example.com/v1", "Gadget")
    assert not rules.is_waited_for("v1", "Service")


#: Of one evaluation, in seconds of CPU time; without the limits, it would take many times as long.
MAX_COST = 2.0
NESTED: dict[str, Any] = {}
for _ in range(900):
    NESTED = {"a": NESTED}


@pytest.mark.parametrize(
    ("expression", "status"),
    [
        ("status.l.all(a, status.l.all(b, status.l.all(c, a + b + c >= 0)))", {"l": list(range(1000))}),
        ("status.s.matches('(a*)*b')", {"s": "a" * 100_000}),
        ("status.s.size() > 0", {"s": "a" * 1_000_000}),
        ("status.l.size() == 0", {"l": [0] * 100_000}),
        (
            "!status.l.all(a, status.l.all(b, !status.s.matches('(a*)*q')))",
            {"l": list(range(99)), "s": "ab" * 50_000},
        ),
        ("status.x == 'a'", {"x": "\ud800"}),
        ("status.x > 1", {"x": 10**40}),
        ("status == {}", NESTED),
        ("status.x", {"x": "text"}),
        ("status.x.y.z", {"x": None}),
    ],
)
def test_a_hostile_object_costs_little_and_is_not_healthy(expression: str, status: Any) -> None:
    started = time.process_time()
    assert isinstance(judge(CustomRule(current=expression), status), Waiting)
    assert time.process_time() - started < MAX_COST


FILE = """apiVersion: pipecd.dev/v1beta1
kind: Piped
spec:
  projectID: demo
  pipedID: agent
  pipedKeyData: a2V5
  apiAddress: localhost:9000
  platformProviders:
    - name: main
      type: KUBERNETES
      config:
        healthRules:
          - apiVersion: example.com/v1
            kind: Widget
"""


def check(*lines: str) -> None:
    document = config.read_document(FILE + "".join(f"            {line}\n" for line in lines), "piped.yaml")
    check_provider_configs(config.decode_spec(document), document)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("current: status.x ==", "current of Widget, 'status.x ==': line 1, column 12: Syntax error"),
        ("current: state.x", "current of Widget, 'state.x': line 1, column 6: undeclared reference"),
        ("current: size(status)", "current of Widget, 'size(status)': is of the type INT, not BOOL"),
        ("{current: 'true', failed: 'a('}", "failed of Widget, 'a(': line 1, column 3"),
        ("current: ''", "current of Widget, '': line 1, column 1"),
        ("current: " + "a" * 3000, "is longer than 2000 characters"),
        ("failed: 'true'", "healthRules[0].current"),
        ("{current: 'true', healthy: 'true'}", "healthy"),
    ],
)
def test_a_bad_rule_is_refused_at_start(line: str, message: str) -> None:
    lines = line.strip("{}").split(", ") if line.startswith("{") else [line]
    with pytest.raises(ConfigError) as raised:
        check(*lines)
    assert message in str(raised.value)
    assert "(the platform provider main)" in str(raised.value)
    assert "spec.platformProviders[0].config.healthRules[0]" in str(raised.value)


def test_an_agent_without_the_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cel, "_environment", lambda: None)
    library.cache_clear()
    try:
        with pytest.raises(ConfigError, match="cel-expr-python is not installed; install pipecd"):
            check("current: 'true'")
        # The kinds of the library are judged by common conditions.
        failed = {"conditions": [{"type": "Stalled", "status": "True", "message": "no such path"}]}
        live = live_object("kustomize.toolkit.fluxcd.io/Kustomization", status=failed)
        assert "no such path" in str(HealthRules().state_of(live))
    finally:
        custom.library.cache_clear()


async def test_a_stage_waits_for_an_object_with_a_rule(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    settings = StageSettings(call_duration=0.0, problem_timeout=-1.0)
    group, shop = f"{namespace}.example.com", Shop(cluster, namespace, tmp_path, settings)
    define_widgets(cluster, group)
    rule = {"apiVersion": f"{group}/v1", "kind": "Widget", "failed": "spec.broken", "current": "!spec.broken"}
    shop.provider = Provider.model_validate(
        {**shop.provider.model_dump(by_alias=True), "healthRules": [rule]}
    )

    def commit(*, broken: bool) -> Path:
        widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "a"}}
        return shop.commit({**widget, "spec": {"broken": broken}})

    failed = await shop.runner(commit(broken=True)).run("K8S_SYNC")
    assert f"Widget a in {namespace} does not work: its controller reports a failure" in failure_text(failed)
    assert_succeeded(await shop.runner(commit(broken=False)).run("K8S_SYNC"))
