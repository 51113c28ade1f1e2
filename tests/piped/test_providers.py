"""Platform providers of the agent's file: found by kind and name, or by labels."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from pipecd.config import piped as config
from pipecd.errors import ConfigError
from pipecd.piped.default_provider import with_default_provider
from pipecd.piped.providers import Providers

SPEC: dict[str, Any] = {
    "projectID": "j",
    "pipedID": "p",
    "pipedKeyData": "a2V5",
    "apiAddress": "plane:443",
    "platformProviders": [
        {
            "name": "main",
            "type": "TERRAFORM",
            "config": {"vars": ["a=1"]},
            "labels": {"env": "demo", "zone": "a"},
        },
        {"name": "main", "type": "ECS", "config": {"region": "eu-west-1"}, "labels": {"env": "demo"}},
        {"name": "second", "type": "TERRAFORM", "config": {"vars": ["a=2"]}, "labels": {"env": "demo"}},
    ],
    "cloudProviders": [
        {"name": "main", "type": "TERRAFORM", "config": {"vars": ["a=3"]}},
        {"name": "old", "type": "TERRAFORM", "config": {"vars": ["a=4"]}, "labels": {"env": "demo"}},
        {"name": "broken", "type": "TERRAFORM", "config": {"vars": 7}},
    ],
}


DOCUMENT = {"apiVersion": "pipecd.dev/v1beta1", "kind": "Piped", "spec": SPEC}


@pytest.fixture
def providers() -> Providers:
    return Providers(config.load(json.dumps(DOCUMENT), "piped.yaml"))


def test_a_provider_is_identified_by_its_kind_and_name(providers: Providers) -> None:
    assert list(providers.config("TERRAFORM", "main").vars) == ["a=1"]
    assert providers.config("ECS", "main").region == "eu-west-1"
    assert providers.config("ECS", "") is None


def test_a_provider_of_another_kind_is_refused(providers: Providers) -> None:
    with pytest.raises(ConfigError) as error:
        providers.config("ECS", "second")
    assert (
        error.value.what == "this agent has no ECS platform provider second; second is a TERRAFORM provider"
    )
    with pytest.raises(ConfigError, match="this agent has no ECS platform provider third; add it"):
        providers.config("ECS", "third")


def test_an_invalid_provider_is_reported_at_its_place(providers: Providers) -> None:
    with pytest.raises(ConfigError, match=r"spec\.cloudProviders\[2\]\.config\.vars: is not a list"):
        providers.config("TERRAFORM", "broken")


def test_providers_are_found_by_name_or_labels(providers: Providers) -> None:
    find = providers.of_kind("TERRAFORM")
    assert [provider.name for provider in find("second", labels={"env": "other"})] == ["second"]
    assert [provider.name for provider in find(labels={"env": "demo"})] == ["main", "second", "old"]
    (found,) = find(labels={"env": "demo", "zone": "a"})
    assert list(found.config.vars) == ["a=1"]
    assert find(labels={"env": "other"}) == []
    with pytest.raises(ConfigError, match="no TERRAFORM platform provider third"):
        find("third")


@pytest.mark.parametrize(
    ("enabled", "in_cluster", "declared", "expected"),
    [
        (None, True, (), ["kubernetes-default"]),
        (None, False, (), []),
        (True, False, (), ["kubernetes-default"]),
        (False, True, (), []),
        (True, True, ("kubernetes-default",), ["kubernetes-default"]),
    ],
)
def test_the_cluster_of_the_agent_has_a_provider_of_its_own(
    enabled: bool | None, in_cluster: bool, declared: Sequence[str], expected: list[str]
) -> None:
    listed = [{"name": name, "type": "KUBERNETES", "config": {"context": "mine"}} for name in declared]
    spec = config.load(json.dumps({**DOCUMENT, "spec": {**SPEC, "platformProviders": listed}}), "piped.yaml")
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"} if in_cluster else {}
    found = Providers(with_default_provider(spec, enabled, environ))
    names = [provider.name for provider in found.find("KUBERNETES", labels={})]
    assert names == expected
    for name in names:
        assert found.config("KUBERNETES", name).context == ("mine" if declared else "")
