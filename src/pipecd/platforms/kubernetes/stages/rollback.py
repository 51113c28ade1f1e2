"""ROLLBACK: brings the cluster back to the running commit, from any state that another stage left."""

from typing import Any

from pipecd.model.stage import Done, Outcome, Work
from pipecd.platforms.kubernetes.cluster.connection import connect
from pipecd.platforms.kubernetes.stages.converge import converge
from pipecd.platforms.kubernetes.stages.job import Job
from pipecd.platforms.kubernetes.stages.rendering import running_manifests


async def k8s_rollback(work: Work[Any]) -> Outcome:
    """Uses the stored rendering of the running commit, so it needs no chart repository."""
    source, manifests = await running_manifests(work)
    async with connect(work.provider) as cluster:
        job = Job(work=work, cluster=cluster, source=source, declared=manifests)
        add_label = job.spec.quick_sync.add_variant_label_to_selector
        if step := await converge(job, job.ordered(add_variant_label=add_label)):
            return step
    return Done(note=f"{len(manifests)} objects are at commit {source.commit[:7]} again")
