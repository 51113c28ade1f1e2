"""ROLLBACK: brings the traffic back to the revisions that had it before the deployment.

They still exist, so one call is enough. If one was deleted, the running commit is deployed again.
"""

import asyncio
from typing import Any

from pipecd.errors import Conflict, Refused
from pipecd.model.stage import Again, Done, Outcome, Work
from pipecd.platforms.cloudrun import traffic
from pipecd.platforms.cloudrun.client import Object, connect
from pipecd.platforms.cloudrun.manifest import COMMIT, TEMPLATE, with_metadata, with_revision
from pipecd.platforms.cloudrun.source import load_if_used
from pipecd.platforms.cloudrun.stages.job import roll_back_job
from pipecd.platforms.cloudrun.stages.release import (
    BEFORE,
    FIRST_POLL,
    ROLLBACK_CANDIDATE,
    Release,
    Step,
    at_version,
    create_revision,
    missing_revisions,
    route,
    traffic_before,
)

#: Stage metadata: the template was sent, or Google refused it; revisions are gone.
_TEMPLATE_SENT, _GONE = "pipecd/template-sent", "pipecd/revisions-gone"


async def cloudrun_rollback(work: Work[Any]) -> Outcome:
    source = await work.checkouts.running()
    manifest = await asyncio.to_thread(load_if_used, source)
    if manifest is None:
        return Done(note="The previous version has no manifest; there is nothing to restore")
    if manifest.is_job:
        return await roll_back_job(work, source)
    if BEFORE not in work.shared:
        return Done(note="The deployment had not changed the service")
    async with connect(work.provider) as client:
        release = Release(
            work=work,
            client=client,
            manifest=manifest,
            commit=source.commit,
            candidate_key=ROLLBACK_CANDIDATE,
        )
        live = await client.find("services", manifest.name)
        before = traffic_before(work)
        if live is None or not before or _GONE in work.saved:
            return await _deploy_again(release, live)
        if gone := await missing_revisions(release, list(before)):
            work.log.info(f"Revision {gone[0]} was deleted; deploying the running commit again")
            return Again(saved={_GONE: gone[0]})
        largest = max(before, key=lambda name: before[name])
        if step := await route(release, live, before, "", largest):
            return step
        if step := await _restore_template(release, live, largest):
            return step
    return Done(note=f"The traffic is as before the deployment: {traffic.describe(before)}")


async def _deploy_again(release: Release, live: Object | None) -> Outcome:
    if step := await create_revision(release, live):
        return step
    assert live is not None
    name = release.work.shared[ROLLBACK_CANDIDATE]
    if step := await route(release, live, {name: 100}, "", name):
        return step
    return Done(note=f"All traffic goes to revision {name}, of the running commit")


async def _restore_template(release: Release, live: Object, revision: str) -> Step:
    """The step that makes the running commit's template that of the service; None when it is.

    A change by hand then starts from it. Only if the revision was created from the same template: Cloud Run
    would refuse another one under its name.
    """
    metadata = live["spec"]["template"].get("metadata") or {}
    if metadata.get("name") == revision or _TEMPLATE_SENT in release.work.saved:
        return None
    found = await release.client.find("revisions", revision)
    marks = (found or {}).get("metadata") or {}
    same = (marks.get("annotations") or {}).get(TEMPLATE) == release.manifest.template_digest
    if not same or (marks.get("labels") or {}).get(COMMIT) != release.marks[COMMIT]:
        return None
    spec = {**live["spec"], "template": with_revision(release.manifest, revision, release.marks)}
    desired = with_metadata(release.manifest.body, release.client.project, release.marks)
    try:
        await release.client.replace("services", at_version({**desired, "spec": spec}, live))
    except (Refused, Conflict) as error:
        release.work.log.info(
            f"The service keeps the template of the failed commit, without traffic: {error}"
        )
    return Again(saved={_TEMPLATE_SENT: "yes"}, after=FIRST_POLL)
