"""Which clusters the objects of an application belong to.

Called by stages, drift detection, live state and plan preview. An object belongs to the clusters of the first
of `resourceRoutes` that matches it, else to that of the application's own platform provider.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipecd.config.application import ApplicationConfig
from pipecd.errors import ConfigError, Place
from pipecd.model.provider import FindProviders
from pipecd.platforms.kubernetes.config import KubernetesApp, Provider, ProviderReference, RouteMatcher
from pipecd.platforms.kubernetes.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Route:
    """One of `resourceRoutes`, or all of `multiTargets`. `place` is where it is declared."""

    providers: Sequence[ProviderReference]
    match: RouteMatcher
    place: Place

    def matches(self, manifest: Manifest) -> bool:
        return self.match.kind in ("", manifest.kind) and self.match.name in ("", manifest.name)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A cluster of an application: a platform provider, whose name is empty if the application names none."""

    name: str
    provider: Provider | None

    def __str__(self) -> str:
        return self.name or "the agent's cluster"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The objects of an application that belong to one cluster, in the order of the files."""

    target: Target
    manifests: Sequence[Manifest]


def read_routes(config: ApplicationConfig) -> Sequence[Route]:
    """In the order in which they are asked. With `multiTargets`, the last one matches every object."""
    spec: KubernetesApp = config.spec
    routes = [
        Route(
            providers=[route.provider],
            match=route.match or RouteMatcher(),
            place=config.place("spec", "resourceRoutes", index, "provider"),
        )
        for index, route in enumerate(spec.resource_routes)
    ]
    if targets := spec.input.multi_targets:
        providers = [ProviderReference(name=item.target.name) for item in targets]
        place = config.place("spec", "input", "multiTargets")
        routes.append(Route(providers=providers, match=RouteMatcher(), place=place))
    return routes


def find_targets(route: Route, find: FindProviders) -> Sequence[Target]:
    """Raises ConfigError if the agent has no such platform provider."""
    found = [target for provider in route.providers for target in _find_targets(route, provider, find)]
    return list({target.name: target for target in found}.values())


def _find_targets(route: Route, provider: ProviderReference, find: FindProviders) -> Sequence[Target]:
    name, labels = provider.name, provider.labels
    try:
        found = find(name) if name else find(labels=labels)
    except ConfigError as error:
        raise ConfigError(error.what, remedy=error.remedy, place=error.place or route.place) from error
    if not found:
        listed = ", ".join(f"{key}: {value}" for key, value in labels.items())
        raise ConfigError(
            f"this agent has no KUBERNETES platform provider with the labels {listed}",
            remedy="add them to a provider in spec.platformProviders of the agent, or correct the route",
            place=route.place,
        )
    return [Target(name=item.name, provider=item.config) for item in found]


def limit(
    assignments: Sequence[Assignment], names: Sequence[str], *, place: Place
) -> tuple[Sequence[Assignment], Sequence[Assignment]]:
    """Those of the clusters with `names`, and the others. Raises ConfigError for another name."""
    known = {item.target.name for item in assignments}
    if unknown := [name for name in names if name not in known]:
        listed = ", ".join(sorted(str(item.target) for item in assignments))
        raise ConfigError(
            f"the stage is limited to {', '.join(unknown)}, and the application's clusters are {listed}",
            remedy="correct multiTargets of the stage, or of the application's input",
            place=place,
        )
    chosen = [item for item in assignments if not names or item.target.name in names]
    return chosen, [item for item in assignments if item not in chosen]


def assign(
    manifests: Iterable[Manifest], routes: Sequence[Route], own: Target, find: FindProviders
) -> Sequence[Assignment]:
    """The clusters that have objects, `own` first. Without any object: `own`. Raises ConfigError."""
    of_routes = [(route, find_targets(route, find)) for route in routes]
    by_name: dict[str, tuple[Target, list[Manifest]]] = {own.name: (own, [])}
    for manifest in manifests:
        matching = (targets for route, targets in of_routes if route.matches(manifest))
        for target in next(matching, [own]):
            by_name.setdefault(target.name, (target, []))[1].append(manifest)
    assignments = [Assignment(target=target, manifests=found) for target, found in by_name.values()]
    return [item for item in assignments if item.manifests] or assignments[:1]
