"""ROLLBACK: brings the cluster back to the running commit, from any state that another stage left."""

from collections.abc import Awaitable
from functools import partial
from typing import Any

from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.kubernetes.hooks import Moment
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages import added
from pipecd.platforms.kubernetes.stages.clusters import (
    Phase,
    converge_wave,
    open_jobs,
    run_phases,
    waves,
)
from pipecd.platforms.kubernetes.stages.hooks import SYNC_FAIL_BY, forget_hooks, run_hooks, run_sync_fail
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.rendering import HAS_SYNC_FAIL, running_manifests, target_manifests
from pipecd.platforms.kubernetes.stages.undo import undo_variants

#: Stage metadata: the hooks of a failure have run.
_SYNC_FAIL_DONE = "pipecd/hooks-sync-fail-done"


async def k8s_rollback(work: Work[Any], settings: StageSettings) -> Outcome:
    """Uses the stored rendering of the running commit, so it needs no chart repository."""
    if step := await _sync_fail(work, settings):
        return step
    undo = await undo_variants(work)
    if not work.deployment.running_commit and (step := await undo.clean_up(work, settings)):
        return step
    source, manifests = await running_manifests(work)

    def apply(job: Job, last_wave: int | None) -> Awaitable[Step]:
        add_label = job.spec.quick_sync.add_variant_label_to_selector
        ordered = job.ordered(job.declared, add_variant_label=add_label)
        return converge_wave(job, undo.without_route(job, ordered), last_wave)

    async with open_jobs(work, settings, source, manifests, also=added.was_recorded) as jobs:
        applying: list[Phase] = [partial(apply, last_wave=last) for last in waves(jobs)]
        before: Phase = partial(run_hooks, moment=Moment.PRE_ROLLBACK)
        after: Phase = partial(run_hooks, moment=Moment.POST_ROLLBACK)
        phases = [*undo.before, before, *applying, *undo.after, added.delete, after]
        # The other clusters are brought back also if that fails in one.
        if step := await run_phases(work, jobs, phases, despite_failures=True):
            return step
    return Done(note=f"{len(manifests)} objects are at commit {source.commit[:7]} again")


async def _sync_fail(work: Work[Any], settings: StageSettings) -> Step:
    """Run the hooks of the failed commit for a failure, unless the stage that failed has."""
    is_done = work.saved.get(_SYNC_FAIL_DONE) or work.shared.get(SYNC_FAIL_BY)
    if HAS_SYNC_FAIL not in work.shared or is_done:
        return None
    source = await work.checkouts.target()
    manifests, _ = await target_manifests(work, source)
    async with open_jobs(work, settings, source, manifests) as jobs:
        return await run_sync_fail(work, jobs) or Again(saved={_SYNC_FAIL_DONE: "true", **forget_hooks(jobs)})
