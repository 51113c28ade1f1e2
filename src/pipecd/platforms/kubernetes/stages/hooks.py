"""Runs hooks, one after another, and follows them until they end. Called by the stages.

The object that a hook runs has a name that depends on the stage and the deployment only. A call after a kill
finds it by that name, so no hook runs twice. How it ended is stored before it is deleted.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pipecd.errors import (
    AlreadyExists,
    NotFound,
    PermissionDenied,
    PipecdError,
    Refused,
    Temporary,
    UserError,
)
from pipecd.model.stage import Again, Failed, Work
from pipecd.platforms.kubernetes.apply import Placed, find_live, place
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.cluster.errors import Rejected
from pipecd.platforms.kubernetes.hooks import (
    DEPLOYMENT,
    HOOK_OF,
    RUN,
    Ended,
    Moment,
    Policy,
    Run,
    describe,
    end_of,
    hooks_at,
    of_wave,
    policies,
    runs,
)
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import MANAGER, belongs_to
from pipecd.platforms.kubernetes.normal import normalize
from pipecd.platforms.kubernetes.refusal import refused
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages.clusters import (
    Phase,
    open_jobs,
    restarted,
    run_phases,
    waves,
)
from pipecd.platforms.kubernetes.stages.converge import Deadline, apply_one, create_namespace
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.problems import find_problem, write_logs
from pipecd.platforms.kubernetes.stages.rendering import running_manifests, target_manifests

#: Stage metadata: the uid of what the current hook runs, when it was created, since when its pods have a
#: problem, and why it failed.
_CURRENT, _SINCE, _PROBLEM_SINCE, _FAILED = (
    "pipecd/hook",
    "pipecd/hook-since",
    "pipecd/hook-problem-since",
    "pipecd/hook-failed",
)
#: Stage metadata: why the stage fails, after the hooks of a failure have run.
_FAILURE, _REMEDY = "pipecd/failure", "pipecd/failure-remedy"
#: Deployment metadata: the stage that runs the hooks of a failure.
SYNC_FAIL_BY = "pipecd/hooks-sync-fail-by"
_DONE = "done"
#: Hooks of these moments may take `StageSettings.failure_hook_timeout`.
_LIMITED = frozenset({Moment.SYNC_FAIL, Moment.PRE_ROLLBACK, Moment.POST_ROLLBACK})


def with_hooks(jobs: Sequence[Job], apply: Callable[[int | None], Phase]) -> list[Phase]:
    """The phases of a sync: the hooks before it, and the waves with theirs. `apply` makes that of a wave."""
    phases: list[Phase] = [partial(run_hooks, moment=Moment.PRE_SYNC)]
    for last in waves(jobs):
        phases.append(apply(last))
        if last is not None:
            phases.append(partial(run_hooks, moment=Moment.SYNC, wave=last))
    return phases


async def run_hooks(job: Job, moment: Moment, wave: int | None = None) -> Step:
    """One step of the hooks of a moment; None when all have succeeded, once in a deployment.

    `wave`: only those of the wave.
    """
    found = hooks_at(job.hooks, moment, first=not job.work.deployment.running_commit)
    key = f"pipecd/hooks-{moment}"
    if wave is not None:
        found, key = of_wave(found, wave), f"{key}-{wave}"
    if not found or job.work.shared.get(key) == _DONE:
        return None
    number = int(job.work.saved.get(key, "0"))
    if reason := job.work.saved.get(_FAILED):
        await _delete(job, found[:number], Policy.SUCCEEDED)
        await _delete(job, found[number : number + 1], Policy.FAILED)
        return Failed(reason=reason, remedy="correct the hook; its log is above")
    if number == len(found):
        await _delete(job, found, Policy.SUCCEEDED)
        return Again(shared={key: _DONE}, note=f"The hooks of {moment} have succeeded")
    if number == 0 and not job.work.saved.get(_CURRENT):
        await create_namespace(job)
        await _delete_former(job)
    hook = found[number]
    if runs(hook):
        return await _follow(job, hook, moment, {key: str(number + 1)})
    await apply_one(job, hook)
    job.work.log.info(f"Applied the hook {describe(hook)}")
    return Again(saved={key: str(number + 1)})


#: After everything else of a sync.
POST_SYNC: Sequence[Phase] = (partial(run_hooks, moment=Moment.POST_SYNC),)


def _run(job: Job) -> Run:
    deployment = job.work.deployment
    return Run(
        application=job.application,
        deployment=deployment.id,
        commit=job.source.commit,
        piped=deployment.piped_id,
        id=job.run,
    )


async def _follow(job: Job, hook: Manifest, moment: Moment, ended: dict[str, str]) -> Step:
    """`ended` is what is stored when it has succeeded."""
    run, saved, deadline = _run(job), job.work.saved, Deadline(job.settings)
    placed = await place(job.cluster, run.instance(hook), job.namespace)
    live, uid = await find_live(job.cluster, placed), saved.get(_CURRENT, "")
    if live is None and not uid:
        live = await _create(job, placed)
        job.work.log.info(f"Running the hook {describe(hook)} as {placed}")
    if live is not None and not run.is_instance(live, hook):
        raise Refused(f"{placed} exists, and is not of the hook", remedy="delete it", place=hook.place)
    if live is not None and not uid:
        return Again(saved={_CURRENT: live["metadata"]["uid"], _SINCE: str(job.work.now)})
    while True:
        if live is None or live["metadata"]["uid"] != uid:
            return _failed(hook, "it was deleted by another program before it ended")
        if end := end_of(live):
            return await _finish(job, hook, placed, end, ended)
        if deadline.passed:
            break
        await deadline.poll()
        live = await find_live(job.cluster, placed)
    since = float(saved.get(_SINCE) or job.work.now)
    timeout = job.settings.failure_hook_timeout
    if moment in _LIMITED and job.work.now - since > timeout:
        await write_logs(job, placed)
        return _failed(hook, f"it has not ended after {timeout / 60:g} minutes")
    return await _still_running(job, hook, placed)


async def _still_running(job: Job, hook: Manifest, placed: Placed) -> Step:
    """The stage's timeout limits how long it may run, unless its pods cannot start."""
    problem, since = await find_problem(job, placed), job.work.saved.get(_PROBLEM_SINCE, "")
    if not problem:
        return Again(saved={_PROBLEM_SINCE: ""}, note=f"Waiting until {placed} ends")
    if since and job.work.now - float(since) > job.settings.problem_timeout:
        await write_logs(job, placed)
        return _failed(hook, problem)
    return Again(saved={_PROBLEM_SINCE: since or str(job.work.now)}, note=problem)


async def _finish(job: Job, hook: Manifest, placed: Placed, end: Ended, ended: dict[str, str]) -> Step:
    await write_logs(job, placed)
    if end.failure:
        return _failed(hook, end.failure)
    job.work.log.success(f"The hook {describe(hook)} has succeeded")
    return Again(saved={**ended, _CURRENT: "", _SINCE: "", _PROBLEM_SINCE: ""})


def _failed(hook: Manifest, reason: str) -> Again:
    return Again(saved={_FAILED: f"the hook {describe(hook)} failed: {reason}"})


async def _create(job: Job, placed: Placed) -> Object:
    """Returns the object that exists, if it does."""
    body = normalize(placed.manifest, job.work.log.info)
    try:
        return (await job.cluster.api.create(placed.type, placed.namespace, body, manager=MANAGER)).object
    except AlreadyExists:
        return await job.cluster.api.get(placed.type, placed.namespace, placed.name)
    except Rejected as error:
        raise refused(placed.manifest, error) from error
    except (NotFound, PermissionDenied) as error:
        place_of = placed.manifest.place
        raise Refused(f"the hook {placed} cannot be created: {error}", place=place_of) from error


async def _delete(job: Job, hooks: Sequence[Manifest], policy: Policy) -> None:
    """Delete what ended hooks with the policy have run or applied."""
    for hook in hooks:
        if policy not in policies(hook):
            continue
        run = _run(job)
        placed = await place(job.cluster, run.instance(hook) if runs(hook) else hook, job.namespace)
        live = await find_live(job.cluster, placed)
        if live is None:
            continue
        if run.is_instance(live, hook) if runs(hook) else belongs_to(live, job.application):
            await _delete_one(job, placed, live)


async def _delete_one(job: Job, placed: Placed, live: Object) -> None:
    try:
        await job.cluster.api.delete(
            placed.type, placed.namespace, live["metadata"]["name"], uid=live["metadata"]["uid"]
        )
    except NotFound:
        return
    job.work.log.info(f"Deleted {placed.manifest.kind} {live['metadata']['name']} of a hook")


async def _delete_former(job: Job) -> None:
    """Delete what the hooks of former deployments have run, whatever their policy."""
    selector = f"{HOOK_OF}={job.application},{DEPLOYMENT}!={job.work.deployment.id}"
    await _delete_selected(job, selector)


async def _delete_selected(job: Job, selector: str, *, running: bool = False) -> None:
    """Of the kinds and namespaces of the hooks; with `running`, only what has not ended."""
    known: dict[tuple[str, ...], Placed] = {}
    for hook in job.hooks:
        if runs(hook):
            try:
                placed = await place(job.cluster, hook, job.namespace)
            except UnknownKind:
                continue
            known[(*placed.identity[:3],)] = placed
    for placed in known.values():
        try:
            found = await job.cluster.api.list(
                placed.type, placed.namespace, label_selector=selector, metadata_only=not running
            )
        except (NotFound, PermissionDenied) as error:
            job.work.log.info(f"What former hooks have run is not deleted: {error}")
            continue
        for live in found:
            if not running or end_of({**live, "kind": placed.type.kind}) is None:
                await _delete_one(job, placed, live)


async def stop_hooks(work: Work[Any], settings: StageSettings) -> None:
    """Ends what the hooks of a stage still run, when it is cancelled or times out."""
    target = await work.checkouts.target()
    declared = [(target, (await target_manifests(work, target))[0])]
    if work.stage.name == "ROLLBACK" and work.deployment.running_commit:
        declared.append(await running_manifests(work))
    for source, manifests in declared:
        async with open_jobs(work, settings, source, manifests) as jobs:
            for job in jobs:
                selector = f"{HOOK_OF}={job.application},{RUN}={job.run}"
                await _delete_selected(job, selector, running=True)


async def with_sync_fail(work: Work[Any], jobs: Sequence[Job], run: Callable[[], Awaitable[Step]]) -> Step:
    """The step of `run`. If that fails, the hooks of a failure run before the stage ends."""
    if reason := work.saved.get(_FAILURE):
        step = await run_sync_fail(work, jobs)
        return step or Failed(reason=reason, remedy=work.saved.get(_REMEDY, ""))
    first = not work.deployment.running_commit
    if not any(hooks_at(job.hooks, Moment.SYNC_FAIL, first=first) for job in jobs):
        return await run()
    try:
        step = await run()
    except Temporary:
        raise
    except UserError as error:
        located = f"{error.place}: {error.what}" if error.place else error.what
        step = Failed(reason=located, remedy=error.remedy)
    except PipecdError as error:
        step = Failed(reason=str(error))
    if not isinstance(step, Failed):
        return step
    work.log.error(f"The hooks of {Moment.SYNC_FAIL} are run, because the stage failed: {step.reason}")
    return Again(
        saved={_FAILURE: step.reason, _REMEDY: step.remedy, **forget_hooks(jobs)},
        shared={SYNC_FAIL_BY: work.stage.id},
    )


def forget_hooks(jobs: Sequence[Job]) -> Mapping[str, str]:
    """Stage metadata with which hooks of another moment can run after some failed."""
    return restarted(jobs, _CURRENT, _SINCE, _PROBLEM_SINCE, _FAILED)


async def run_sync_fail(work: Work[Any], jobs: Sequence[Job]) -> Step:
    """One step of the hooks of a failure. That one fails is said in the log, and changes nothing."""
    step = await run_phases(work, jobs, [partial(run_hooks, moment=Moment.SYNC_FAIL)])
    if isinstance(step, Failed):
        work.log.error(step.reason)
        return None
    return step
