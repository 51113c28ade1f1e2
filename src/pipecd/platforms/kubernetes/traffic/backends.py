"""Weights among the services of the variants in a list of backends, for the Gateway API and SMI."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipecd.errors import ConfigError, Place
from pipecd.platforms.kubernetes.traffic.routed import Routed, Shares
from pipecd.platforms.kubernetes.variants import PRIMARY

#: Largest weight that the Gateway API accepts.
MAX_WEIGHT = 1_000_000

Backend = Mapping[str, Any]


def stable_name(routed: Routed, names: Sequence[str]) -> str:
    """Of the services `names`, the one of the primary variant: `web`, or the generated `web-primary`.

    Empty if there is neither.
    """
    generated = routed.variants[PRIMARY].rename(routed.service)
    return next((name for name in (generated, routed.service) if name and name in names), "")


def variant_names(routed: Routed, stable: str) -> Mapping[str, str]:
    """Name of the service → name of its variant."""
    others = {variant.rename(routed.service): name for name, variant in routed.variants.items()}
    return {**others, stable: PRIMARY}


def split(
    routed: Routed,
    backends: Sequence[Backend],
    shares: Shares,
    *,
    name_of: Callable[[Backend], str],
    rename: Callable[[Backend, str], Backend],
    place: Place,
) -> list[Backend]:
    """The backends with the weights of `shares` among ours. Backends of others keep their part.

    A variant without traffic is listed only if it is listed in Git. Returns `backends` if none is ours.
    """
    stable = stable_name(routed, [name_of(backend) for backend in backends])
    if not stable:
        return list(backends)
    variants = variant_names(routed, stable)
    ours: dict[str, Backend] = {}
    for backend in backends:
        variant = variants.get(name_of(backend))
        if variant in ours:
            raise ConfigError(
                f"{routed.manifest} lists the service {name_of(backend)} twice in one rule",
                remedy="list it once",
                place=place,
            )
        if variant:
            ours[variant] = backend
    others = [backend for backend in backends if name_of(backend) not in variants]
    # In units of `total` / 100.
    total = sum(weight_of(backend) for backend in ours.values())
    if not total:
        return list(backends)
    factor = 100 if any(weight_of(backend) for backend in others) else 0
    weights = {name: share * (total if factor else 1) for name, share in shares.items()}
    other_weights = [weight_of(backend) * factor for backend in others]
    if factor:
        divisor = math.gcd(*weights.values(), *other_weights)
        weights = {name: weight // divisor for name, weight in weights.items()}
        other_weights = [weight // divisor for weight in other_weights]
    if max(*weights.values(), *other_weights, 0) > MAX_WEIGHT:
        raise ConfigError(
            f"the weights of {routed.manifest} would exceed {MAX_WEIGHT}",
            remedy="use smaller weights in Git",
            place=place,
        )
    result: list[Backend] = []
    by_service = {name: service for service, name in variants.items() if service != stable}
    by_service[PRIMARY] = stable
    for name, weight in weights.items():
        if weight or name in ours:
            backend = ours.get(name) or rename(
                ours.get(PRIMARY) or next(iter(ours.values())), by_service[name]
            )
            result.append({**backend, "weight": weight})
    kept = zip(others, other_weights, strict=True)
    return [*result, *({**backend, "weight": weight} if factor else backend for backend, weight in kept)]


def weight_of(backend: Backend) -> int:
    """The API's default is 1."""
    weight = backend.get("weight", 1)
    return weight if isinstance(weight, int) and not isinstance(weight, bool) else 0
