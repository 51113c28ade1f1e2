"""How a listener rule divides traffic between two target groups, as values. Pure.

A rule is ours only if one of its actions forwards to exactly the primary and the canary group. Nothing else
in it is touched.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Action = Mapping[str, Any]


def shares(actions: Sequence[Action], primary: str, canary: str) -> tuple[int, int] | None:
    """The weights of primary and canary; None when no action forwards to exactly these two."""
    for action in actions:
        weights = _weights(action)
        if set(weights) == {primary, canary}:
            return weights[primary], weights[canary]
    return None


def shifted(actions: Sequence[Action], weights: Mapping[str, int]) -> list[dict[str, Any]]:
    """The same actions, with new weights wherever an action forwards to exactly these groups."""
    return [_shifted(action, weights) for action in actions]


def _weights(action: Action) -> dict[str, int]:
    if action.get("Type") != "forward":
        return {}
    groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    return {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}


def _shifted(action: Action, weights: Mapping[str, int]) -> dict[str, Any]:
    if action.get("Type") == "authenticate-oidc":
        # AWS never tells the secret; without this it would ask for it.
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
