"""Steps that the stages of a service share: create a revision, wait until it is ready, move the traffic.

A revision is created without traffic, and gets some only when it is ready. Each step reads the service, and
sends it back with its resourceVersion: two writers never overwrite one another. A step that only moves
traffic sends the template as it is, because the name of a revision stands for one template.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecd.errors import AlreadyExists, Conflict, Refused
from pipecd.model.stage import CANDIDATE_URL, Again, Failed, Source, Work
from pipecd.platforms.cloudrun import traffic
from pipecd.platforms.cloudrun.client import SERVICE_LABEL, CloudRunClient, Object, connect
from pipecd.platforms.cloudrun.health import state_of
from pipecd.platforms.cloudrun.manifest import (
    APPLICATION,
    TEMPLATE,
    Manifest,
    label_value,
    labels,
    load_manifest,
    revision_name,
    with_metadata,
    with_revision,
)

#: Polling intervals while Cloud Run works (seconds): the first one; they grow with the time that was waited.
FIRST_POLL, _MAX_POLL = 0.3, 5.0
#: How long one change may take (seconds). A large image takes minutes.
CHANGE_TIMEOUT = 15 * 60.0
#: Deployment metadata: the traffic before the deployment ("none": there was no service), and the revision.
BEFORE, NO_SERVICE = "pipecd/cloudrun-traffic-before", "none"
CANDIDATE, ROLLBACK_CANDIDATE = "pipecd/cloudrun-revision", "pipecd/cloudrun-rollback-revision"
#: Stage metadata: when a wait began; that a revision was found ready; the traffic that was sent, and how
#: often; that Google refused to delete revisions.
_WAITING_SINCE, _READY = "pipecd/waiting-since", "pipecd/ready"
_SENT, _UPDATES, _CLEAN_UP_REFUSED = "pipecd/traffic-sent", "pipecd/traffic-updates", "pipecd/clean-up"
#: How often a stage sets the traffic. More than one update is an answer to another writer's change.
_MAX_UPDATES = 5
#: How many revisions of one commit are distinguished.
_MAX_ATTEMPTS = 20

Step = Again | Failed | None


@dataclass(frozen=True, kw_only=True)
class Release:
    """`commit` is the commit to deploy; for a rollback the running one."""

    work: Work[Any]
    client: CloudRunClient
    manifest: Manifest
    commit: str
    keep_revisions: int | None = None
    #: Deployment metadata with the name of the commit's revision.
    candidate_key: str = CANDIDATE

    @property
    def marks(self) -> Mapping[str, str]:
        return labels(self.work.deployment.piped_id, self.work.application.id, self.commit)

    @property
    def tag(self) -> str:
        return traffic.tag_of(self.manifest.name, self.commit)


@asynccontextmanager
async def open_release(work: Work[Any], source: Source) -> AsyncIterator[Release]:
    """Raises Refused for a job."""
    manifest = await asyncio.to_thread(load_manifest, source)
    if manifest.is_job:
        raise Refused(
            f"{work.stage.name} deploys services, and this is a job", remedy="use CLOUDRUN_JOB_SYNC"
        )
    async with connect(work.provider) as client:
        yield Release(
            work=work,
            client=client,
            manifest=manifest,
            commit=source.commit,
            keep_revisions=source.config.spec.input.keep_revisions,
        )


async def deploy(release: Release, percent: int) -> Step:
    """One step towards `percent` of the traffic for a revision of the commit; None when users have it.

    Then old revisions are deleted, or the address of the new revision is published while it has less than
    all traffic.
    """
    live = await release.client.find("services", release.manifest.name)
    if step := await _record_traffic(release, live) or await create_revision(release, live):
        return step
    assert live is not None
    if step := await _move_traffic(release, live, percent):
        return step
    return await (_delete_old_revisions if percent >= 100 else _publish_address)(release, live)


async def _record_traffic(release: Release, live: Object | None) -> Step:
    """The step that stores the traffic before the deployment; None when it is stored."""
    if BEFORE in release.work.shared:
        return None
    shares = traffic.shares_of(live) if live else {}
    if live is not None and not shares and state_of(live).ready is None:
        return wait(release.work, "before", f"{release.manifest.name} to have traffic")
    return Again(
        shared={BEFORE: traffic.dump(shares) if shares else NO_SERVICE}, note="Recorded the traffic before"
    )


async def create_revision(release: Release, live: Object | None) -> Step:
    """One step towards a revision of the commit that is ready; None when it is."""
    work, client = release.work, release.client
    name = work.shared.get(release.candidate_key)
    if name is None:
        name = await _choose_name(release)
        return Again(shared={release.candidate_key: name})
    found = await client.find("revisions", name)
    if found is None:
        if live is not None and _template_name(live) == name:
            return await _wait_for_revision(release, live, name)
        return await _send_revision(release, live, name)
    state = state_of(found)
    if state.ready is None:
        return wait(work, f"ready-{name}", f"revision {name} to be ready: {state.message}")
    if state.ready is False:
        logs = str((found.get("status") or {}).get("logUrl") or "")[: traffic.MAX_URL]
        return Failed(
            reason=f"revision {name} is not ready: {state.message}",
            remedy=f"see its logs at {logs}" if logs else "see its logs in the Google Cloud console",
        )
    if work.saved.get(_READY) != name:
        work.log.success(f"Revision {name} is ready")
        return Again(saved={_READY: name}, note=f"Revision {name} is ready")
    return None


async def _choose_name(release: Release) -> str:
    """The first name that is free, or belongs to a revision with the same template."""
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        name = revision_name(release.manifest, release.commit, attempt)
        found = await release.client.find("revisions", name)
        if found is None or _made_from(found, release):
            return name
        if release.manifest.pinned_revision:
            raise Refused(
                f"the revision {name} exists with another template",
                remedy="change spec.template.metadata.name in the manifest, or remove it",
            )
    raise Refused(
        f"{_MAX_ATTEMPTS} revisions of this commit exist with other templates",
        remedy="delete some of them, and sync again",
    )


def _made_from(revision: Object, release: Release) -> bool:
    annotations = revision["metadata"].get("annotations") or {}
    failed = state_of(revision).ready is False
    return annotations.get(TEMPLATE) == release.manifest.template_digest and not failed


async def _send_revision(release: Release, live: Object | None, name: str) -> Step:
    manifest, client, work = release.manifest, release.client, release.work
    body = with_metadata(manifest.body, client.project, release.marks)
    spec = {**body["spec"], "template": with_revision(manifest, name, release.marks)}
    if live is None:
        spec["traffic"] = traffic.targets({name: 100}, (), manifest.traffic, name, "")
        try:
            await client.create("services", {**body, "spec": spec})
        except AlreadyExists:
            return Again(after=FIRST_POLL, note="The service already exists; reading it again")
        work.log.info(f"Created the service {manifest.name} with revision {name}")
        return Again(after=FIRST_POLL, note=f"Creating revision {name}")
    check_owner(work, manifest, live)
    # Without traffic before, because no revision ever became ready, the new one gets all of it.
    shares = traffic.shares_of(live) or traffic_before(work) or {name: 100}
    live_traffic = live["spec"].get("traffic") or ()
    spec["traffic"] = traffic.targets(shares, live_traffic, manifest.traffic, name, release.tag)
    try:
        await client.replace("services", at_version({**body, "spec": spec}, live))
    except (Conflict, AlreadyExists) as error:
        # The service changed since it was read, or a revision of this name was created meanwhile.
        return wait(work, f"conflict-{name}", f"another change of {manifest.name} to end: {error}")
    work.log.info(f"Creating revision {name}, without traffic")
    return Again(after=FIRST_POLL, note=f"Creating revision {name}")


def check_owner(work: Work[Any], manifest: Manifest, live: Object) -> None:
    """Raises Refused for a service or a job of another application."""
    owner = (live["metadata"].get("labels") or {}).get(APPLICATION)
    if owner and owner != label_value(work.application.id):
        kind = manifest.kind.lower()
        raise Refused(
            f"the {kind} {manifest.name} belongs to the application {owner}",
            remedy=f"rename the {kind} in the manifest, or delete the other application's label",
        )


def at_version(body: Mapping[str, Any], live: Object) -> dict[str, Any]:
    version = live["metadata"].get("resourceVersion")
    return {**body, "metadata": {**body["metadata"], **({"resourceVersion": version} if version else {})}}


async def _wait_for_revision(release: Release, live: Object, name: str) -> Step:
    state = state_of(live)
    if state.ready is False:
        return Failed(
            reason=f"Cloud Run did not create revision {name}: {state.message}",
            remedy="correct what the message names, and sync again",
        )
    return wait(release.work, f"ready-{name}", f"revision {name} to be created")


async def _move_traffic(release: Release, live: Object, percent: int) -> Step:
    """One step towards `percent` of the traffic for the commit's revision; None when users have it."""
    name = release.work.shared[release.candidate_key]
    shares = traffic.promote(traffic_before(release.work), name, percent)
    if gone := await missing_revisions(release, [other for other in shares if other != name]):
        return Failed(
            reason=f"revision {gone[0]}, which had traffic before, was deleted",
            remedy="sync the application again",
        )
    return await route(release, live, shares, "" if shares.get(name) == 100 else release.tag, name)


def traffic_before(work: Work[Any]) -> traffic.Shares:
    """The traffic before the deployment; empty if there was no service."""
    recorded = work.shared.get(BEFORE, NO_SERVICE)
    return {} if recorded == NO_SERVICE else traffic.load(recorded)


async def missing_revisions(release: Release, names: Sequence[str]) -> Sequence[str]:
    """Those that do not exist. Not asked for after the traffic was sent once: Google has checked it."""
    if _SENT in release.work.saved:
        return []
    return [name for name in names if await release.client.find("revisions", name) is None]


async def route(release: Release, live: Object, shares: traffic.Shares, tag: str, revision: str) -> Step:
    """One step towards `shares`; None when Cloud Run reports that it routes by them."""
    work, manifest = release.work, release.manifest
    live_traffic = live["spec"].get("traffic") or ()
    wanted = traffic.targets(shares, live_traffic, manifest.traffic, revision, tag)
    sent = work.saved.get(_SENT) == traffic.dump(shares)
    # What the server writes differently into labels and annotations is not sent twice.
    if not traffic.same_targets(live_traffic, wanted) or not (sent or _has_metadata(release, live)):
        return await _send_traffic(release, live, shares, wanted)
    # Not Ready: it is False as long as the newest revision failed, with or without traffic.
    state = state_of(live, "RoutesReady")
    if state.ready is False:
        return Failed(
            reason=f"Cloud Run could not route the traffic: {state.message}",
            remedy="correct what the message names, and sync again",
        )
    if state.ready is None or dict(traffic.shares_of(live)) != dict(shares):
        return wait(work, "traffic", f"the traffic of {manifest.name} to be {traffic.describe(shares)}")
    return None


async def _send_traffic(
    release: Release, live: Object, shares: traffic.Shares, wanted: Sequence[Mapping[str, Any]]
) -> Step:
    work, manifest = release.work, release.manifest
    check_owner(work, manifest, live)
    updates = int(work.saved.get(_UPDATES, "0"))
    if updates >= _MAX_UPDATES:
        return Failed(
            reason=f"after {updates} updates of the traffic of {manifest.name} to {traffic.describe(shares)},"
            f" it is {traffic.describe(traffic.shares_of(live))}",
            remedy="find out what else changes the traffic, such as Cloud Deploy or gcloud, and sync again",
        )
    desired = with_metadata(manifest.body, release.client.project, release.marks)
    try:
        await release.client.replace(
            "services", at_version({**desired, "spec": {**live["spec"], "traffic": wanted}}, live)
        )
    except Conflict as error:
        return wait(work, "conflict", f"another change of {manifest.name} to end: {error}")
    work.log.info(f"Routing the traffic of {manifest.name}: {traffic.describe(shares)}")
    return Again(
        after=FIRST_POLL,
        saved={_SENT: traffic.dump(shares), _UPDATES: str(updates + 1)},
        note=f"Routing {traffic.describe(shares)}",
    )


def _has_metadata(release: Release, live: Object) -> bool:
    """Whether the service has the labels and annotations of the manifest. The server adds others."""
    desired = with_metadata(release.manifest.body, release.client.project, release.marks)["metadata"]
    return all(
        (live["metadata"].get(name) or {}).get(key) == value
        for name in ("labels", "annotations")
        for key, value in (desired.get(name) or {}).items()
    )


async def _publish_address(release: Release, live: Object) -> Step:
    """The step that stores the address of the new revision, for people and later stages; None when stored."""
    url = traffic.url_of_tag(live, release.tag)
    if not url or release.work.shared.get(CANDIDATE_URL) == url:
        return None
    release.work.log.info(f"The new revision alone is at {url}")
    return Again(shared={CANDIDATE_URL: url}, saved={"candidate-url": url})


async def _delete_old_revisions(release: Release, live: Object) -> Step:
    """Deletes one revision that is no longer to be kept; None when there is none.

    Only those of this application, without traffic and tags. A refusal does not fail the stage.
    """
    if release.keep_revisions is None or _CLEAN_UP_REFUSED in release.work.saved:
        return None
    used = {target.get("revisionName") for target in (live.get("status") or {}).get("traffic") or ()}
    used |= {target.get("revisionName") for target in live["spec"].get("traffic") or ()}
    status = live.get("status") or {}
    used |= {status.get("latestReadyRevisionName"), status.get("latestCreatedRevisionName")}
    found = await release.client.list("revisions", f"{SERVICE_LABEL}={release.manifest.name}")
    owner = label_value(release.work.application.id)
    unused = [
        str(item["metadata"]["name"])
        for item in found
        if (item["metadata"].get("labels") or {}).get(APPLICATION) == owner
        and item["metadata"]["name"] not in used
        and not item["metadata"].get("deletionTimestamp")
    ]
    if len(unused) <= release.keep_revisions:
        return None
    try:
        await release.client.delete_revision(unused[-1])
    except Refused as error:
        release.work.log.info(f"Old revisions were not deleted: {error}")
        return Again(saved={_CLEAN_UP_REFUSED: "refused"})
    release.work.log.info(f"Deleted revision {unused[-1]}")
    return Again(note=f"Deleted revision {unused[-1]}")


def wait(work: Work[Any], key: str, what: str) -> Again | Failed:
    """Waits for `what`; fails after `CHANGE_TIMEOUT`. Waits with different keys have separate bounds."""
    saved_key = f"{_WAITING_SINCE}/{key}"
    started = float(work.saved.get(saved_key, work.now))
    if work.now - started > CHANGE_TIMEOUT:
        return Failed(
            reason=f"waited {CHANGE_TIMEOUT / 60:g} minutes for {what}",
            remedy="see the service in the Google Cloud console, and sync again",
        )
    return Again(
        after=poll_interval(work.now - started),
        saved={saved_key: f"{started}"},
        note=f"Waiting for {what}",
    )


def poll_interval(waited: float) -> float:
    """The next polling interval after `waited` seconds."""
    return min(_MAX_POLL, max(FIRST_POLL, waited / 5))


def _template_name(live: Object) -> str:
    return str((live["spec"]["template"].get("metadata") or {}).get("name") or "")
