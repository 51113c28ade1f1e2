"""Which actions the policies of a role allow, and on which records."""

import pytest

from pipecd.model.access import (
    Action,
    Labels,
    Policy,
    Resource,
    allows,
    allows_record,
    conditions,
    describe,
)


def policy(resource: Resource, action: Action, **labels: str) -> Policy:
    return Policy(
        resources=frozenset({resource}), actions=frozenset({action}), labels=frozenset(labels.items())
    )


DEV = policy(Resource.APPLICATION, Action.GET, env="dev")
TEAM = policy(Resource.APPLICATION, Action.ALL, team="a", env="prod")
EVERYTHING_DEV = policy(Resource.ALL, Action.GET, env="dev")
DEPLOYMENTS = policy(Resource.DEPLOYMENT, Action.GET)
PIPEDS_DEV = policy(Resource.PIPED, Action.GET, env="dev")


@pytest.mark.parametrize(
    ("policies", "labels", "allowed"),
    [
        ([DEV], {"env": "dev"}, True),
        ([DEV], {"env": "dev", "team": "b"}, True),
        ([DEV], {"env": "Dev"}, False),
        ([DEV], {}, False),
        ([TEAM], {"env": "prod"}, False),
        ([TEAM], {"env": "prod", "team": "a"}, True),
        ([DEV, TEAM], {"env": "dev"}, True),
        ([EVERYTHING_DEV], {"env": "dev"}, True),
        ([EVERYTHING_DEV], {"env": "prod"}, False),
        ([DEPLOYMENTS], {"env": "dev"}, False),
        ([], {"env": "dev"}, False),
        ([DEV, policy(Resource.APPLICATION, Action.GET)], {}, True),
    ],
)
def test_a_policy_with_labels_allows_records_with_all_of_them(
    policies: list[Policy], labels: Labels, allowed: bool
) -> None:
    assert allows_record(policies, Resource.APPLICATION, Action.GET, labels) is allowed


def test_conditions_are_alternatives() -> None:
    both = conditions([DEV, TEAM], Resource.APPLICATION, Action.GET)
    assert both == [{"env": "dev"}, {"team": "a", "env": "prod"}]
    assert conditions([DEV, TEAM], Resource.APPLICATION, Action.LIST) == [{"team": "a", "env": "prod"}]
    assert conditions([DEV], Resource.DEPLOYMENT, Action.GET) == []
    assert conditions([DEPLOYMENTS], Resource.DEPLOYMENT, Action.GET) is None


def test_labels_mean_nothing_for_kinds_without_labels() -> None:
    for policies in ([PIPEDS_DEV], [EVERYTHING_DEV]):
        assert conditions(policies, Resource.PIPED, Action.GET) is None
        assert allows(policies, Resource.PIPED, Action.GET)
        assert not allows(policies, Resource.PIPED, Action.UPDATE)


def test_a_policy_with_labels_does_not_give_the_audit_log() -> None:
    """It shows the changes of all records."""
    for resource in (Resource.ALL, Resource.AUDIT_LOG):
        assert allows([policy(resource, Action.LIST)], Resource.AUDIT_LOG, Action.LIST)
        assert not allows([policy(resource, Action.LIST, env="dev")], Resource.AUDIT_LOG, Action.LIST)


@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize("action", Action)
def test_a_right_is_described_in_words(resource: Resource, action: Action) -> None:
    words = describe(resource, action).replace("API keys", "keys")
    assert words == words.lower() and "_" not in words and len(words.split()) >= 2


def test_a_description_names_what_the_right_is_for() -> None:
    assert describe(Resource.AUDIT_LOG, Action.LIST) == "view the audit log"
    assert describe(Resource.APPLICATION, Action.DELETE) == "delete applications"
    assert describe(Resource.DEPLOYMENT, Action.UPDATE) == "approve, skip or cancel deployments"
