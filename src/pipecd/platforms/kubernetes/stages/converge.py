"""Applies objects one group after another, and waits until they work.

Groups are objects of one wave and rank. Definitions are waited for before their objects are applied, and each
wave before the next one.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from pipecd.errors import AlreadyExists, NotFound, PipecdError, UserError
from pipecd.model.stage import Again, Failed
from pipecd.platforms.kubernetes import order
from pipecd.platforms.kubernetes.apply import MustRecreate, Placed, apply, find_live, place
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import MANAGER
from pipecd.platforms.kubernetes.ready import (
    OUTDATED,
    Broken,
    Ready,
    Waiting,
    is_workload,
    pod_problem,
    state_of,
)
from pipecd.platforms.kubernetes.stages import job as settings
from pipecd.platforms.kubernetes.stages.job import Job, Step

#: Objects of one group that are applied at the same time.
CONCURRENT = 8
#: How long a kind may be unknown that another object of the application may define (seconds).
UNKNOWN_KIND_TIMEOUT = 120.0
#: How long pods may have the same problem before the stage fails (seconds).
PROBLEM_TIMEOUT = 60.0
#: For kinds without a deadline of their own (seconds).
READY_TIMEOUT = 600.0
#: Polling intervals while waiting (seconds).
_FIRST_POLL, _LAST_POLL = 0.1, 2.0
#: Stage metadata: how many objects are applied, and since when the stage waits for something.
APPLIED = "pipecd/applied"
_UNKNOWN_SINCE, _WAITING_SINCE, _PROBLEM_SINCE = (
    "pipecd/unknown-since",
    "pipecd/waiting-since",
    "pipecd/problem-since",
)


class Deadline:
    """When this call of the stage should return, to store its progress."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time() + settings.CALL_SECONDS
        self._delay = _FIRST_POLL

    @property
    def passed(self) -> bool:
        return self._loop.time() >= self._at

    async def poll(self) -> None:
        """Waits before the next look at the cluster."""
        await asyncio.sleep(min(self._delay, max(0.0, self._at - self._loop.time())))
        self._delay = min(2 * self._delay, _LAST_POLL)


async def converge(job: Job, manifests: Sequence[Manifest]) -> Step:
    """One call's worth of applying `manifests`, in their order, and waiting. None when all work."""
    deadline, applied = Deadline(), int(job.work.saved.get(APPLIED, "0"))
    if applied == 0:
        await _create_namespace(job)
    for group in order.groups(manifests[applied:]):
        if step := await _wait_before(job, manifests, applied, deadline):
            return step
        try:
            for start in range(0, len(group), CONCURRENT):
                batch = group[start : start + CONCURRENT]
                await _apply_all(job, batch)
                applied += len(batch)
                if deadline.passed:
                    break
        except UnknownKind as error:
            return _wait_for_kind(job, error, applied)
        if deadline.passed:
            return Again(saved={APPLIED: str(applied)}, note=f"Applied {applied} of {len(manifests)} objects")
    if APPLIED not in job.work.saved or int(job.work.saved[APPLIED]) < applied:
        job.work.log.info(f"Applied {applied} objects")
    if not job.spec.input.wait_for_ready:
        return None
    return await _wait_until_ready(job, manifests, deadline, {APPLIED: str(applied)})


async def _apply_all(job: Job, batch: Sequence[Manifest]) -> None:
    """Applies all, also after one fails. Raises the first error."""
    results = await asyncio.gather(*(_apply_one(job, manifest) for manifest in batch), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors[1:]:
        if isinstance(error, UserError):
            job.work.log.error(str(error))
    if errors:
        raise errors[0]


async def _apply_one(job: Job, manifest: Manifest) -> None:
    namespace = job.spec.input.namespace
    found = await place(job.cluster, manifest, namespace)
    placed = Placed(manifest=job.marked(found.manifest), type=found.type)
    log, rules = job.work.log.info, job.field_rules
    result = await apply(job.cluster, placed, job.application, log, rules=rules)
    while isinstance(result, MustRecreate):
        log(f"{placed}: deleting it to create it again: {result.reason}")
        await _delete(job, placed, result.uid)
        result = await apply(job.cluster, placed, job.application, log, rules=rules)


async def _delete(job: Job, placed: Placed, uid: str) -> None:
    """Deletes the object with this uid, and waits until it is gone. The pods of a StatefulSet stay."""
    propagation: Any = "Orphan" if placed.manifest.kind == "StatefulSet" else "Background"
    try:
        await job.cluster.api.delete(
            placed.type, placed.namespace, placed.name, uid=uid, propagation=propagation
        )
    except NotFound:
        return
    delay = _FIRST_POLL
    while (live := await find_live(job.cluster, placed)) and live["metadata"]["uid"] == uid:
        await asyncio.sleep(delay)
        delay = min(2 * delay, _LAST_POLL)


async def _create_namespace(job: Job) -> None:
    """It gets no marks, so that it is never deleted."""
    name = job.spec.input.namespace
    if not (job.spec.input.auto_create_namespace and name):
        return
    namespaces = await job.cluster.kinds.find("v1", "Namespace")
    try:
        await job.cluster.api.get(namespaces, "", name)
    except NotFound:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            await job.cluster.api.create(namespaces, "", body, manager=MANAGER)
        except AlreadyExists:
            return
        job.work.log.info(f"Created the namespace {name}")


async def _wait_before(job: Job, manifests: Sequence[Manifest], applied: int, deadline: Deadline) -> Step:
    """Before a group: definitions must be usable, and the wave before it must work."""
    if applied == 0:
        return None
    previous, following = manifests[applied - 1], manifests[applied]
    if order.wave(previous) != order.wave(following) and job.spec.input.wait_for_ready:
        before = [found for found in manifests[:applied] if order.wave(found) == order.wave(previous)]
        if step := await _wait_until_ready(job, before, deadline, {APPLIED: str(applied)}):
            return step
    if previous.kind not in order.DEFINITIONS or following.kind == previous.kind:
        return None
    before = [manifest for manifest in manifests[:applied] if manifest.kind in order.DEFINITIONS]
    step = await _wait_until_ready(job, before, deadline, {APPLIED: str(applied)}, every_kind=True)
    if step is None and previous.kind == "CustomResourceDefinition":
        await job.cluster.kinds.refresh()
    return step


def _wait_for_kind(job: Job, error: UnknownKind, applied: int) -> Step:
    """A controller of this application may define the kind. Raises `error` after a while."""
    since = float(job.work.saved.get(_UNKNOWN_SINCE, job.work.now))
    if job.work.now - since > UNKNOWN_KIND_TIMEOUT:
        raise error
    if _UNKNOWN_SINCE not in job.work.saved:
        job.work.log.info(f"Waiting for a kind to be defined: {error.what}")
    saved = {_UNKNOWN_SINCE: str(since), APPLIED: str(applied)}
    return Again(after=1.0, saved=saved, note=error.what)


async def _wait_until_ready(
    job: Job,
    manifests: Sequence[Manifest],
    deadline: Deadline,
    saved: dict[str, str],
    *,
    every_kind: bool = False,
) -> Step:
    """None when all work. Waits for workloads, or for `every_kind`."""
    pending = [
        await place(job.cluster, manifest, job.spec.input.namespace)
        for manifest in manifests
        if every_kind or is_workload(manifest.api_version, manifest.kind)
    ]
    notes: dict[str, str] = {}
    while pending:
        states = await asyncio.gather(*(_state(job, placed) for placed in pending))
        by_object = list(zip(pending, states, strict=True))
        for placed, state in by_object:
            if isinstance(state, Broken):
                return await _failed(job, placed, state.reason)
        notes = {str(placed): state.note for placed, state in by_object if isinstance(state, Waiting)}
        pending = [placed for placed, state in by_object if not isinstance(state, Ready)]
        if not pending or deadline.passed:
            break
        await deadline.poll()
    return await _still_waiting(job, pending, notes, saved) if pending else None


async def _state(job: Job, placed: Placed) -> Ready | Waiting | Broken:
    live = await find_live(job.cluster, placed)
    return Broken("it was deleted by another program") if live is None else state_of(live)


async def _still_waiting(
    job: Job, pending: Sequence[Placed], notes: dict[str, str], saved: dict[str, str]
) -> Step:
    """Again, or a failure if the pods have had a problem for too long."""
    first = pending[0]
    note = f"{first} {notes.get(str(first), '')}".rstrip()
    since = float(job.work.saved.get(_WAITING_SINCE, job.work.now))
    saved = {**saved, _WAITING_SINCE: str(since)}
    if _WAITING_SINCE not in job.work.saved:
        job.work.log.info(f"Waiting: {note}")
    has_deadline = first.manifest.kind == "Deployment" and notes.get(str(first)) != OUTDATED
    if job.work.now - since > READY_TIMEOUT and not has_deadline:
        return await _failed(job, first, f"not ready after {READY_TIMEOUT / 60:g} minutes: {note}")
    problems = [problem for placed in pending if (problem := await find_problem(job, placed))]
    if not problems:
        return Again(saved={**saved, _PROBLEM_SINCE: ""}, note=note)
    problem_since = float(job.work.saved.get(_PROBLEM_SINCE) or job.work.now)
    if not job.work.saved.get(_PROBLEM_SINCE):
        job.work.log.error(problems[0])
    if job.work.now - problem_since > PROBLEM_TIMEOUT:
        return await _failed(job, first, note)
    return Again(saved={**saved, _PROBLEM_SINCE: str(problem_since)}, note=problems[0])


async def _failed(job: Job, placed: Placed, reason: str) -> Failed:
    """With what its pods say."""
    problem = await find_problem(job, placed)
    return Failed(
        reason=f"{placed} does not work: {reason}" + (f"; {problem}" if problem else ""),
        remedy="fix the application; its pods and their logs show more",
    )


async def find_problem(job: Job, placed: Placed) -> str:
    """Why the newest pods of a workload cannot start; empty if nothing is known."""
    try:
        pods = await _newest_pods(job, placed)
    except PipecdError:
        # Reasons are a help, and reading pods may not be permitted.
        return ""
    return next((problem for pod in pods if (problem := pod_problem(pod))), "")


async def _newest_pods(job: Job, placed: Placed) -> list[Any]:
    """The pods of the newest revision of a workload."""
    live = await find_live(job.cluster, placed)
    if live is None:
        return []
    labels = ((live.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    if not labels:
        return []
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    kinds, api = job.cluster.kinds, job.cluster.api
    pods = await api.list(await kinds.find("v1", "Pod"), placed.namespace, label_selector=selector)
    owner = live["metadata"]["uid"]
    if placed.manifest.kind == "Deployment":
        replica_sets = await api.list(
            await kinds.find("apps/v1", "ReplicaSet"), placed.namespace, label_selector=selector
        )
        newest = [found for found in replica_sets if _revision(found) == _revision(live)]
        owner = next((found["metadata"]["uid"] for found in newest if _owned(found, owner)), "")
    return [pod for pod in pods if _owned(pod, owner)]


def _revision(live: Any) -> str:
    annotations = live["metadata"].get("annotations") or {}
    return str(annotations.get("deployment.kubernetes.io/revision", ""))


def _owned(live: Any, uid: str) -> bool:
    return any(reference.get("uid") == uid for reference in live["metadata"].get("ownerReferences") or ())
