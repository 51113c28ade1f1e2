"""The weights of a listener rule that splits traffic between two target groups. Pure.

A rule is changed only if one of its actions forwards to exactly the primary and the canary group. Its other
actions and settings are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Action = Mapping[str, Any]


def get_weights(actions: Sequence[Action], primary: str, canary: str) -> tuple[int, int] | None:
    """The weights of primary and canary; None when no action forwards to exactly these two."""
    for action in actions:
        weights = _weights(action)
        if set(weights) == {primary, canary}:
            return weights[primary], weights[canary]
    return None


def with_weights(actions: Sequence[Action], weights: Mapping[str, int]) -> list[dict[str, Any]]:
    """The same actions, with new weights wherever an action forwards to exactly these groups."""
    return [_action_with_weights(action, weights) for action in actions]


def _weights(action: Action) -> dict[str, int]:
    if action.get("Type") != "forward":
        return {}
    groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    return {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}


def _action_with_weights(action: Action, weights: Mapping[str, int]) -> dict[str, Any]:
    if action.get("Type") == "authenticate-oidc":
        # AWS does not return the client secret, and would require it without this setting.
        oidc = {**action["AuthenticateOidcConfig"], "UseExistingClientSecret": True}
        return {**action, "AuthenticateOidcConfig": oidc}
    if set(_weights(action)) != set(weights):
        return dict(action)
    groups = [{"TargetGroupArn": group, "Weight": weight} for group, weight in weights.items()]
    config = {**action["ForwardConfig"], "TargetGroups": groups}
    return {
        **{key: value for key, value in action.items() if key != "TargetGroupArn"},
        "ForwardConfig": config,
    }
