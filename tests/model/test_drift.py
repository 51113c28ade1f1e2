"""What counts as drift, and how it reads."""

from typing import Any

import pytest

from pipecd.model.drift import ANOTHER, Ignored, Pair, compare
from pipecd.model.resource import Health, Resource, health_of

KEY = "ecs:Service:shop:web"


def text(value: str) -> str:
    return value.replace("hunter2", "***")


def drift(running: Any, git: Any, *ignored: str) -> Any:
    return compare([Pair(key=KEY, running=running, git=git)], Ignored(ignored), text)


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
def test_same(running: Any, git: Any) -> None:
    assert drift(running, git).none


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
def test_different(running: Any, git: Any, lines: list[str]) -> None:
    found = drift(running, git)
    assert not found.none
    assert found.summary == "Differs from Git: 1 changed"
    assert found.details.startswith("--- Running\n+++ Git\n# Service web in shop\n@@")
    changed = [line for line in found.details.splitlines()[3:] if line[0] in "+-"]
    assert set(lines) <= {line.strip() for line in changed} | {line.replace("-  ", "-") for line in changed}


@pytest.mark.parametrize(
    ("field", "none"),
    [
        (f"{KEY}#spec.containers.0.image", True),
        (f"{KEY}#spec.containers.app.image", True),
        (f"{KEY}#spec.containers", True),
        (f"{KEY}#spec", True),
        ("*:Service:*:web#spec.containers.0.image", True),
        (f"{KEY}#spec.containers.1.image", False),
        (f"{KEY}#spec.containers.0.imag", False),
        ("ecs:Service:shop:other#spec", False),
        ("ecs:Task:shop:web#spec", False),
    ],
)
def test_ignored_fields(field: str, none: bool) -> None:
    running = {"spec": {"containers": [{"name": "app", "image": "new"}]}}
    git = {"spec": {"containers": [{"name": "app", "image": "old"}]}}
    assert drift(running, git, field).none is none


def test_a_thing_on_one_side_only() -> None:
    pairs = [
        Pair(key="ecs:Service:shop:web", running=None, git={"a": 1}),
        Pair(key="ecs:Service:shop:old", running={"a": 1}, git=None),
        Pair(key="ecs:Service:shop:same", running={"a": 1}, git={"a": 1}),
    ]
    found = compare(pairs, Ignored(), text)
    assert found.summary == "Differs from Git: 1 missing, 1 not in Git"
    assert "+ Service web in shop: does not run" in found.details
    assert "- Service old in shop: not in Git" in found.details
    assert "same" not in found.details


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
    assert ANOTHER in details
    for secret in ("hunter2", "unheard", "t0p", "from git", "typed by hand", "only in git"):
        assert secret not in details
    assert "value: b" in details


def test_the_health_of_all_is_that_of_the_worst() -> None:
    def one(health: Health) -> Resource:
        return Resource(id="1", kind="Task", name="t", health=health)

    assert health_of([]) is Health.UNKNOWN
    assert health_of([one(Health.HEALTHY)]) is Health.HEALTHY
    assert health_of([one(Health.HEALTHY), one(Health.UNKNOWN)]) is Health.UNKNOWN
    assert health_of([one(Health.UNKNOWN), one(Health.UNHEALTHY), one(Health.HEALTHY)]) is Health.UNHEALTHY
