"""K8S_CANARY_ROLLOUT, K8S_BASELINE_ROLLOUT and their CLEAN stages: copies of the workloads, next to them.

They get no traffic by being created, unless the application's service selects them too.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel

from pipecd.json_input import decode_json
from pipecd.model.stage import Again, Done, Outcome, Source, Work
from pipecd.platforms.kubernetes.checks import check_manifests
from pipecd.platforms.kubernetes.config import BaselineRolloutOptions, CanaryRolloutOptions, KubernetesApp
from pipecd.platforms.kubernetes.hooks import Moment
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.patches import patch
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages.clusters import open_jobs, run_phases
from pipecd.platforms.kubernetes.stages.hooks import run_hooks, with_sync_fail
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.rendering import running_manifests, target_manifests
from pipecd.platforms.kubernetes.stages.shift import find_route, take_traffic_from, wait_until_settled
from pipecd.platforms.kubernetes.stages.variant import (
    REPLICAS,
    apply_variant,
    delete_variant,
    live_replicas,
)
from pipecd.platforms.kubernetes.variants import (
    BASELINE,
    CANARY,
    Copies,
    Variant,
    count_replicas,
    make_baseline,
    make_canary,
    select_workloads,
    variant_of,
)

_Make = Callable[[Sequence[Manifest], Callable[[Manifest], int]], Copies]


async def canary_rollout(work: Work[CanaryRolloutOptions], settings: StageSettings) -> Outcome:
    source = await work.checkouts.target()
    manifests, shared = await target_manifests(work, source)
    if shared:
        return Again(shared=shared, note=f"Rendered {len(manifests)} objects")
    spec: KubernetesApp = source.config.spec
    check_manifests(spec, manifests)
    patched = await asyncio.to_thread(patch, manifests, work.options.patches)
    variant = variant_of(spec, CANARY, work.options.suffix)

    def make(declared: Sequence[Manifest], replicas: Callable[[Manifest], int]) -> Copies:
        return make_canary(
            spec, declared, variant, create_service=work.options.create_service, replicas=replicas
        )

    return await _roll_out(work, settings, source, patched, variant, make)


async def baseline_rollout(work: Work[BaselineRolloutOptions], settings: StageSettings) -> Outcome:
    """Of the running commit, by its own file."""
    target = await work.checkouts.target()
    manifests, shared = await target_manifests(work, target)
    if shared:
        return Again(shared=shared, note=f"Rendered {len(manifests)} objects")
    check_manifests(target.config.spec, manifests)
    source, running = await running_manifests(work)
    variant = variant_of(target.config.spec, BASELINE, work.options.suffix)

    def make(declared: Sequence[Manifest], replicas: Callable[[Manifest], int]) -> Copies:
        return make_baseline(
            source.config.spec,
            declared,
            variant,
            create_service=work.options.create_service,
            replicas=replicas,
        )

    return await _roll_out(work, settings, source, running, variant, make)


async def _roll_out(
    work: Work[Any],
    settings: StageSettings,
    source: Source,
    manifests: Sequence[Manifest],
    variant: Variant,
    make: _Make,
) -> Outcome:
    spec: KubernetesApp = source.config.spec
    # Of all clusters, so that at least one has some.
    workloads = select_workloads(manifests, spec.workloads)
    asked: str = work.options.replicas

    async def roll_out(job: Job) -> Step:
        own = [manifest for manifest in job.declared if manifest in workloads]
        if not own:
            return None
        counts = await _counts(job, own, asked)
        copies = make(job.declared, lambda manifest: counts[str(manifest)])
        return await apply_variant(job, variant, copies, counts)

    async with open_jobs(work, settings, source, manifests) as jobs:
        # A baseline runs what is deployed already.
        before = [partial(run_hooks, moment=Moment.PRE_SYNC)] if variant.name == CANARY else []

        async def run() -> Step:
            return await run_phases(work, jobs, [*before, roll_out])

        if step := await with_sync_fail(work, jobs, run) if before else await run():
            return step
    note = f"The {variant.name} works: {', '.join(variant.rename(found.name) for found in workloads)}"
    work.log.success(note)
    return Done(note=note)


async def _counts(job: Job, workloads: Sequence[Manifest], asked: str) -> Mapping[str, int]:
    """Determined once, so that a primary variant that scales meanwhile changes nothing."""
    if stored := job.work.saved.get(REPLICAS):
        return {str(name): int(count) for name, count in decode_json(stored).items()}
    live = await live_replicas(job, workloads)
    return {name: count_replicas(asked, current) for name, current in live.items()}


async def clean(name: str, work: Work[BaseModel], settings: StageSettings) -> Outcome:
    """Deletes the variant `name`, after its traffic was moved to the primary variant."""
    source = await work.checkouts.target()
    manifests, shared = await target_manifests(work, source)
    if shared:
        return Again(shared=shared, note=f"Rendered {len(manifests)} objects")
    variant = variant_of(source.config.spec, name)

    async def route(job: Job) -> Step:
        routing = find_route(job)
        if routing is None:
            return None
        return await take_traffic_from(job, routing, name) or wait_until_settled(job)

    async def delete(job: Job) -> Step:
        return await delete_variant(job, variant)

    async with open_jobs(work, settings, source, manifests) as jobs:
        if step := await run_phases(work, jobs, [route, delete]):
            return step
    return Done(note=f"The {name} was deleted")


canary_clean = partial(clean, CANARY)
baseline_clean = partial(clean, BASELINE)
