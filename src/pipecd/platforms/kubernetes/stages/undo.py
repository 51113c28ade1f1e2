"""What a rollback does about traffic and variants.

Traffic goes back to the primary variant first, if that can carry it, and otherwise after it is restored. Only
what gets no traffic is deleted. The failed canary is never waited for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipecd.errors import ConfigError, Refused
from pipecd.model.stage import Source, Work
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages.clusters import Phase, open_jobs, run_phases
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.rendering import target_manifests
from pipecd.platforms.kubernetes.stages.shift import (
    MOVED,
    is_routed_to,
    route_to_primary,
    take_traffic_back,
    wait_until_settled,
)
from pipecd.platforms.kubernetes.stages.variant import delete_variant
from pipecd.platforms.kubernetes.traffic import Routing, find_routing
from pipecd.platforms.kubernetes.variants import RESOURCES, variant_of


@dataclass(frozen=True, kw_only=True)
class Undo:
    """`source` and `manifests` are those of the failed commit; without a source, there is nothing to undo."""

    source: Source | None = None
    manifests: Sequence[Manifest] = ()

    @property
    def spec(self) -> KubernetesApp | None:
        return self.source.config.spec if self.source else None

    @property
    def before(self) -> Sequence[Phase]:
        """Before the running commit is applied."""
        return [self._take_traffic_back] if self.spec else []

    @property
    def after(self) -> Sequence[Phase]:
        """After the running commit works."""
        return [self._route, *(self._deleting(name) for name in RESOURCES)] if self.spec else []

    async def clean_up(self, work: Work[Any], settings: StageSettings) -> Step:
        """Delete the variants of a first deployment, after which there is nothing to go back to.

        Those that get traffic stay: no others serve.
        """
        if self.source is None:
            return None
        async with open_jobs(work, settings, self.source, self.manifests) as jobs:
            phases = [self._deleting(name, even_with_traffic=False) for name in RESOURCES]
            return await run_phases(work, jobs, phases)

    def without_route(self, job: Job, manifests: Sequence[Manifest]) -> Sequence[Manifest]:
        """The object that routes the traffic is applied when the primary variant can carry it."""
        routing = self._find_route(job)
        if routing is None:
            return manifests
        return [manifest for manifest in manifests if manifest.key != routing.declared.key]

    def _find_route(self, job: Job) -> Routing | None:
        """As the running commit has it, or else the failed one."""
        if self.spec is None or MOVED not in job.work.shared:
            return None
        for manifests in (job.declared, self.manifests if job.is_own else ()):
            try:
                return find_routing(self.spec, manifests)
            except ConfigError:
                continue
        return None

    async def _take_traffic_back(self, job: Job) -> Step:
        routing = self._find_route(job)
        return await take_traffic_back(job, routing) if routing else None

    async def _route(self, job: Job) -> Step:
        routing = self._find_route(job)
        if routing is None:
            return None
        return await route_to_primary(job, routing) or wait_until_settled(job)

    def _deleting(self, name: str, *, even_with_traffic: bool = True) -> Phase:
        async def delete(job: Job) -> Step:
            assert self.spec is not None
            routing = None if even_with_traffic else self._find_route(job)
            if routing and await is_routed_to(job, routing, name):
                job.work.log.error(f"The {name} gets traffic, and is kept")
                return None
            return await delete_variant(job, variant_of(self.spec, name))

        return delete


async def undo_variants(work: Work[Any]) -> Undo:
    """Nothing to undo if the deployment has neither created a variant nor moved traffic."""
    keys = (*RESOURCES.values(), MOVED)
    if not any(name == key or name.startswith(f"{key}@") for name in work.shared for key in keys):
        return Undo()
    source = await work.checkouts.target()
    try:
        manifests, _ = await target_manifests(work, source)
    except Refused:
        # Its rendering is lost. The running commit's is enough, unless the failed one added the route.
        manifests = ()
    return Undo(source=source, manifests=manifests)
