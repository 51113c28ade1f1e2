"""CLOUDRUN_JOB_SYNC: updates a job, and runs it if asked to.

An execution is started by the update itself: the token in the job's spec is the end of its name. So an
execution is found again by its name, and never started twice.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from pipecd.errors import AlreadyExists, Conflict, Refused, Temporary
from pipecd.model.stage import Again, Done, Failed, Outcome, Source, Work
from pipecd.platforms.cloudrun import traffic
from pipecd.platforms.cloudrun.client import CloudRunClient, Object, connect
from pipecd.platforms.cloudrun.config import JobOptions
from pipecd.platforms.cloudrun.health import state_of
from pipecd.platforms.cloudrun.manifest import (
    MAX_NAME,
    Manifest,
    labels,
    load_manifest,
    with_metadata,
)
from pipecd.platforms.cloudrun.stages.release import (
    FIRST_POLL,
    Step,
    at_version,
    check_owner,
    poll_interval,
    wait,
)

#: Stage metadata: the job was sent; when the execution was first seen.
_SENT, _RUNNING_SINCE = "pipecd/job-sent", "pipecd/running-since"
_TOKEN_LENGTH = 10


async def job_sync(work: Work[JobOptions]) -> Outcome:
    return await sync_job(work, await work.checkouts.target(), work.options)


async def sync_job(work: Work[Any], source: Source, options: JobOptions) -> Outcome:
    manifest = await _load(work, source)
    token = _token(work) if options.run else ""
    execution = f"{manifest.name}-{token}"
    if options.run and len(execution) >= MAX_NAME:
        raise Refused(
            f"the name of the job {manifest.name} is too long to run it",
            remedy=f"use at most {MAX_NAME - _TOKEN_LENGTH - 2} characters, or remove run",
        )
    async with connect(work.provider) as client:
        found = await client.find("executions", execution) if options.run else None
        if found is None and (step := await _update(work, client, manifest, source.commit, token)):
            return step
        if not options.run:
            return Done(note=f"The job {manifest.name} is updated")
        if found is None:
            return wait(work, "execution", f"the execution {execution} to be created")
        if not options.wait:
            return Done(note=f"The execution {execution} was started")
        return _follow(work, execution, found)


async def stop_job_sync(work: Work[JobOptions]) -> None:
    await stop_execution(work, await work.checkouts.target(), work.options)


async def stop_execution(work: Work[Any], source: Source, options: JobOptions) -> None:
    """Cancels the execution that the stage has started, if it has not ended."""
    if not options.run:
        return
    manifest = await _load(work, source)
    token = _token(work)
    name = f"{manifest.name}-{token}"
    async with connect(work.provider) as client:
        execution = await client.find("executions", name)
        if execution is None:
            live = await client.find("jobs", manifest.name)
            if live is not None and live["spec"].get("startExecutionToken") == token:
                raise Temporary(f"the execution {name} is not created yet", after=FIRST_POLL)
            return
        if state_of(execution).ready is None:
            await client.cancel_execution(name)
            work.log.info(f"Cancelled the execution {name}")


async def roll_back_job(work: Work[Any], source: Source) -> Outcome:
    manifest = await _load(work, source)
    async with connect(work.provider) as client:
        if step := await _update(work, client, manifest, source.commit, ""):
            return step
    return Done(note=f"The job {manifest.name} is at commit {source.commit[:7]} again; it was not run")


async def _load(work: Work[Any], source: Source) -> Manifest:
    manifest = await asyncio.to_thread(load_manifest, source)
    if not manifest.is_job:
        raise Refused(
            f"{work.stage.name} deploys jobs, and this is a service", remedy="set input.jobManifestFile"
        )
    return manifest


async def _update(
    work: Work[Any], client: CloudRunClient, manifest: Manifest, commit: str, token: str
) -> Step:
    """One step towards the manifest; None when Cloud Run has accepted it."""
    live = await client.find("jobs", manifest.name)
    if _SENT not in work.saved:
        return await _send(work, client, manifest, commit, token, live)
    if live is None:
        return Failed(reason=f"the job {manifest.name} was deleted", remedy="sync the application again")
    state = state_of(live)
    if state.ready is False:
        return Failed(
            reason=f"the job {manifest.name} is not ready: {state.message}",
            remedy="correct what the message names, and sync again",
        )
    return None if state.ready else wait(work, "job", f"the job {manifest.name} to be ready: {state.message}")


async def _send(
    work: Work[Any],
    client: CloudRunClient,
    manifest: Manifest,
    commit: str,
    token: str,
    live: Object | None,
) -> Step:
    marks = labels(work.deployment.piped_id, work.application.id, commit)
    body = job_body(manifest, client.project, marks, token)
    try:
        if live is None:
            await client.create("jobs", body)
        else:
            check_owner(work, manifest, live)
            await client.replace("jobs", at_version(body, live))
    except (Conflict, AlreadyExists) as error:
        return wait(work, "conflict", f"another change of {manifest.name} to end: {error}")
    work.log.info(f"Updated the job {manifest.name}" + (", and started it" if token else ""))
    return Again(after=FIRST_POLL, saved={_SENT: "yes"}, note="Updating the job")


def job_body(manifest: Manifest, project: str, marks: Mapping[str, str], token: str = "") -> dict[str, Any]:
    """The job with PipeCD's labels, also on its executions. `token` starts an execution."""
    body = with_metadata(manifest.body, project, marks)
    template = dict(body["spec"]["template"])
    metadata = dict(template.get("metadata") or {})
    template["metadata"] = {**metadata, "labels": {**(metadata.get("labels") or {}), **marks}}
    return {
        **body,
        "spec": {**body["spec"], "template": template, **({"startExecutionToken": token} if token else {})},
    }


def _follow(work: Work[Any], name: str, execution: Object) -> Outcome:
    state = state_of(execution)
    status = execution.get("status") or {}
    total = ((execution.get("spec") or {}).get("taskCount")) or 1
    counts = f"{status.get('succeededCount') or 0} of {total} tasks succeeded"
    if failed := status.get("failedCount"):
        counts += f", {failed} failed"
    if state.ready is None:
        since = float(work.saved.get(_RUNNING_SINCE, work.now))
        return Again(
            after=poll_interval(work.now - since),
            saved={_RUNNING_SINCE: f"{since}"},
            note=f"{name}: {counts}",
        )
    if state.ready:
        work.log.success(f"{name} has ended: {counts}")
        return Done(note=f"{name}: {counts}")
    logs = str(status.get("logUri") or "")[: traffic.MAX_URL]
    return Failed(
        reason=f"the execution {name} failed: {state.message} ({counts})",
        remedy=f"see its logs at {logs}" if logs else "see its logs in the Google Cloud console",
    )


def _token(work: Work[Any]) -> str:
    """Begins with a letter, and is the same for every call of this stage."""
    return "r" + hashlib.sha256(work.token.encode()).hexdigest()[: _TOKEN_LENGTH - 1]
