"""K8S_SYNC: brings the cluster to the state in Git, and waits until it works."""

from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.kubernetes.cluster.connection import connect
from pipecd.platforms.kubernetes.config import SyncOptions
from pipecd.platforms.kubernetes.stages import prune
from pipecd.platforms.kubernetes.stages.converge import converge
from pipecd.platforms.kubernetes.stages.job import Job
from pipecd.platforms.kubernetes.stages.rendering import target_manifests


async def k8s_sync(work: Work[SyncOptions]) -> Outcome:
    source = await work.checkouts.target()
    manifests, shared = await target_manifests(work, source)
    if shared:
        return Again(shared=shared, note=f"Rendered {len(manifests)} objects")
    async with connect(work.provider) as cluster:
        job = Job(work=work, cluster=cluster, source=source, declared=manifests)
        options = _options(work, job)
        if options.prune and (step := await prune.list_once(job, limit=options.prune_limit)):
            return step
        ordered = job.ordered(add_variant_label=options.add_variant_label_to_selector)
        if step := await converge(job, ordered):
            return step
        if options.prune and (step := await prune.delete(job)):
            return step
    return Done(note=f"{len(manifests)} objects are applied and work")


def _options(work: Work[SyncOptions], job: Job) -> SyncOptions:
    """`with` of a stage in a pipeline; a quick sync has its options in `spec.quickSync`."""
    with_options = work.options.model_fields_set if work.options else ()
    return work.options if with_options and not work.stage.predefined else job.spec.quick_sync
