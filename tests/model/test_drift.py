"""Drift detection and the format of the diff."""

import time
from typing import Any

import pytest

from pipecd.model.drift import NO_DRIFT, OTHER_VALUE, Addition, IgnoredFields, Pair, compare
from pipecd.model.resource import Health, Resource, aggregate_health

KEY = "ecs:Service:shop:web"


def redact(text: str) -> str:
    return text.replace("hunter2", "***")


def drift(running: Any, git: Any, *ignored: str) -> Any:
    return compare([Pair(key=KEY, running=running, git=git)], IgnoredFields(ignored), redact)


@pytest.mark.parametrize(
    ("running", "git"),
    [
        ({"a": 1, "filled in": True}, {"a": 1}),
        ({"cpu": "256"}, {"cpu": 256}),
        ({"cpu": 256.0}, {"cpu": "256"}),
        ({}, {"env": {}, "list": [], "text": "", "none": None}),
        ({"env": None}, {"env": {}}),
        ({}, {"Environment": {"Variables": {}}}),
        ({"c": [{"name": "b", "x": 2}, {"name": "a", "x": 1}]}, {"c": [{"name": "a"}, {"name": "b"}]}),
        ({"c": [{"containerPort": 80, "protocol": "tcp"}]}, {"c": [{"containerPort": 80}]}),
    ],
)
def test_equal_states_are_in_sync(running: Any, git: Any) -> None:
    assert drift(running, git).in_sync


@pytest.mark.parametrize(
    ("running", "git", "lines"),
    [
        ({"a": 1}, {"a": 2}, ["-a: 1", "+a: 2"]),
        ({"a": 1}, {"a": 1, "b": 2}, ["+b: 2"]),
        ({"a": [1, 2]}, {"a": [1]}, ["-- 2"]),
        ({"a": [1]}, {"a": [1, 2]}, ["+- 2"]),
        ({"a": [2, 1]}, {"a": [1, 2]}, ["-- 1", "+- 1"]),
        ({"c": [{"name": "a"}, {"name": "b"}]}, {"c": [{"name": "b"}]}, ["-- name: a"]),
        ({"a": True}, {"a": 1}, ["-a: true", "+a: 1"]),
        ({"a": "1.0.0"}, {"a": "1.0"}, ['-a: "1.0.0"', '+a: "1.0"']),
        ({"a": {"b": 1}}, {"a": "b"}, ["+a: b"]),
    ],
)
def test_differences_are_shown_as_a_diff(running: Any, git: Any, lines: list[str]) -> None:
    result = drift(running, git)
    assert not result.in_sync
    assert result.summary == "Differs from Git: 1 changed"
    assert result.details.startswith("--- Running\n+++ Git\n# Service web in shop\n@@")
    changed = [line for line in result.details.splitlines()[3:] if line[0] in "+-"]
    assert set(lines) <= {line.strip() for line in changed} | {line.replace("-  ", "-") for line in changed}


@pytest.mark.parametrize(
    ("field", "in_sync"),
    [
        (f"{KEY}#spec.containers.0.image", True),
        (f"{KEY}#spec.containers.app.image", True),
        (f"{KEY}#spec.containers", True),
        (f"{KEY}#spec", True),
        ("*:Service:*:web#spec.containers.0.image", True),
        (f"{KEY}#spec.containers.*.image", True),
        (f"{KEY}#/spec/containers/0/image", True),
        (f"{KEY}#/spec/containers/app/image", True),
        (f"{KEY}#/spec/containers/*/image", True),
        (f"{KEY}#/spec", True),
        (f"{KEY}#/*/containers/0/image", False),
        (f"{KEY}#/spec/containers/1/image", False),
        (f"{KEY}#/spec.containers.0.image", False),
        (f"{KEY}#spec.containers.1.image", False),
        (f"{KEY}#spec.containers.0.imag", False),
        ("ecs:Service:shop:other#spec", False),
        ("ecs:Task:shop:web#spec", False),
    ],
)
def test_ignored_fields(field: str, in_sync: bool) -> None:
    running = {"spec": {"containers": [{"name": "app", "image": "new"}]}}
    git = {"spec": {"containers": [{"name": "app", "image": "old"}]}}
    assert drift(running, git, field).in_sync is in_sync


@pytest.mark.parametrize("name", ["example.com/size", "a~b", "*", "", "a/b~1c"])
def test_a_json_pointer_can_name_any_key(name: str) -> None:
    pointer = "/labels/" + name.replace("~", "~0").replace("/", "~1")
    running, git = {"labels": {name: 1, "other": 1}}, {"labels": {name: 2, "other": 1}}
    assert drift(running, git, f"{KEY}#{pointer}").in_sync
    assert not drift(running, {"labels": {name: 2, "other": 2}}, f"{KEY}#{pointer}").in_sync


def test_what_others_added_is_listed_and_no_drift() -> None:
    added = Addition(key=KEY, field="spec.b", manager="kubectl-edit", at="2026-01-01T00:00:00Z")
    pair = Pair(key=KEY, running={"a": 1, "b": 1}, git={"a": 1})
    result = compare([pair], IgnoredFields(), redact, additions=[added], notes=["a\nnote"])
    assert result.in_sync
    assert result.summary == "The live state matches Git, with fields that others added: 1"
    assert result.details.splitlines() == [
        "! a note",
        "# Added beside Git, and no drift:",
        "~ Service web in shop: spec.b (kubectl-edit, 2026-01-01T00:00:00Z)",
    ]
    many = compare([pair], IgnoredFields(), redact, additions=[added] * 5000).details.splitlines()
    assert (len(many), many[-1]) == (102, "~ and 4900 more")


def test_a_note_is_one_line_of_limited_length() -> None:
    pair = Pair(key=KEY, running={"a": 1}, git={"a": 2}, note="by\n" + "x" * 10_000_000)
    (line,) = (
        line for line in compare([pair], IgnoredFields(), redact).details.splitlines() if "by x" in line
    )
    assert line.startswith("# Service web in shop (by xxx") and len(line) < 1100


def test_a_difference_has_the_same_fingerprint_for_the_same_fields() -> None:
    first = drift({"a": 1, "c": [{"name": "x", "v": 1}]}, {"a": 2, "c": [{"name": "x", "v": 2}]})
    again = drift({"a": 3, "c": [{"name": "x", "v": 5}]}, {"a": 2, "c": [{"name": "x", "v": 2}]})
    other = drift({"a": 2, "c": [{"name": "x", "v": 5}]}, {"a": 2, "c": [{"name": "x", "v": 2}]})
    assert first.fingerprint == again.fingerprint != other.fingerprint
    missing = compare([Pair(key=KEY, running=None, git={})], IgnoredFields(), redact)
    strange = compare([Pair(key=KEY, running={}, git=None)], IgnoredFields(), redact)
    assert len({missing.fingerprint, strange.fingerprint, first.fingerprint, other.fingerprint}) == 4
    assert NO_DRIFT.fingerprint == ""


def test_an_exact_comparison_finds_what_is_only_live() -> None:
    pair = Pair(
        key=KEY, running={"a": 1, "b": 1}, git={"a": 1}, exact=True, changed_by=["kubectl", "kubectl"]
    )
    result = compare([pair], IgnoredFields(), redact)
    assert "-b: 1" in result.details and result.changed_by == ("kubectl",)


def test_resources_on_one_side_only_are_named() -> None:
    pairs = [
        Pair(key="ecs:Service:shop:web", running=None, git={"a": 1}),
        Pair(key="ecs:Service:shop:old", running={"a": 1}, git=None),
        Pair(key="ecs:Service:shop:same", running={"a": 1}, git={"a": 1}),
    ]
    result = compare(pairs, IgnoredFields(), redact)
    assert result.summary == "Differs from Git: 1 missing, 1 not in Git"
    assert "+ Service web in shop: not running" in result.details
    assert "- Service old in shop: not in Git" in result.details
    assert "same" not in result.details


def test_secrets_of_neither_side_are_shown() -> None:
    git = {
        "env": [{"name": "PLAIN", "value": "a"}, {"name": "DSN", "value": "user:hunter2"}],
        "more": {"DB_PASSWORD": "from git"},
        "new": {"below": [{"API_KEY": "only in git"}]},
    }
    running = {
        "env": [
            {"name": "PLAIN", "value": "b"},
            {"name": "DSN", "value": "user:unheard"},
            {"name": "NEW_TOKEN", "value": "t0p"},
        ],
        "more": {"DB_PASSWORD": "typed by hand"},
    }
    details = drift(running, git).details
    assert OTHER_VALUE in details
    for secret in ("hunter2", "unheard", "t0p", "from git", "typed by hand", "only in git"):
        assert secret not in details
    assert "value: b" in details


def test_an_applications_health_is_that_of_its_worst_resource() -> None:
    def aggregate(*states: Health) -> Health:
        return aggregate_health([Resource(id="1", kind="Task", name="t", health=health) for health in states])

    assert aggregate() is Health.UNKNOWN
    assert aggregate(Health.HEALTHY) is Health.HEALTHY
    assert aggregate(Health.HEALTHY, Health.UNKNOWN) is Health.UNKNOWN
    assert aggregate(Health.UNKNOWN, Health.UNHEALTHY, Health.HEALTHY) is Health.UNHEALTHY


def test_a_large_difference_is_compared_up_to_a_limit() -> None:
    git = {"list": [f"- {number % 150}" for number in range(40_000)]}
    running = {"list": git["list"][::-1]}
    started = time.thread_time()
    drift = compare([Pair(key="v1:A:ns:b", running=running, git=git)], IgnoredFields(), lambda text: text)
    assert time.thread_time() - started < 5
    assert not drift.in_sync and "more lines are not compared here" in drift.details
