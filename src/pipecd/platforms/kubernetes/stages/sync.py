"""K8S_SYNC: brings the cluster to the state in Git, and waits until it works."""

from functools import partial

from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.kubernetes.config import KubernetesApp, SyncOptions
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages import added, prune
from pipecd.platforms.kubernetes.stages.clusters import (
    converge_wave,
    open_jobs,
    run_with_pruning,
)
from pipecd.platforms.kubernetes.stages.hooks import POST_SYNC, with_hooks, with_sync_fail
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.rendering import target_manifests


async def k8s_sync(work: Work[SyncOptions], settings: StageSettings) -> Outcome:
    source = await work.checkouts.target()
    manifests, shared = await target_manifests(work, source)
    if shared:
        return Again(shared=shared, note=f"Rendered {len(manifests)} objects")
    options = _options(work, source.config.spec)

    async def list_obsolete(job: Job) -> Step:
        return await prune.list_once(job, limit=options.prune_limit)

    async def apply(job: Job, last_wave: int | None) -> Step:
        await added.record_once(job)
        ordered = job.ordered(job.declared, add_variant_label=options.add_variant_label_to_selector)
        return await converge_wave(job, ordered, last_wave)

    async with open_jobs(work, settings, source, manifests, prune=options.prune) as jobs:
        phases = with_hooks(jobs, lambda last: partial(apply, last_wave=last))

        async def sync() -> Step:
            obsolete = list_obsolete if options.prune else None
            return await run_with_pruning(work, jobs, phases, obsolete, after=POST_SYNC)

        if step := await with_sync_fail(work, jobs, sync):
            return step
    remaining = sum(int(job.work.saved.get(prune.REMAINING, "0")) for job in jobs)
    note = f"{len(manifests)} objects are applied and work"
    return Done(note=f"{note}; {remaining} deleted objects have not ended yet" if remaining else note)


def _options(work: Work[SyncOptions], spec: KubernetesApp) -> SyncOptions:
    """`with` of a stage in a pipeline; a quick sync has its options in `spec.quickSync`."""
    with_options = work.options.model_fields_set if work.options else ()
    return work.options if with_options and not work.stage.predefined else spec.quick_sync
