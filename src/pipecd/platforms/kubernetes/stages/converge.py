"""Applies objects one group after another, and waits until they work.

Groups are objects of one wave and rank. Definitions are waited for before their objects are applied, and each
wave before the next one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipecd.errors import AlreadyExists, NotFound, PermissionDenied, Refused, UserError
from pipecd.model.stage import Again, Failed
from pipecd.platforms.kubernetes import order
from pipecd.platforms.kubernetes.apply import (
    BeingDeleted,
    MustRecreate,
    Placed,
    apply,
    find_live,
    place,
)
from pipecd.platforms.kubernetes.cluster.api import Object
from pipecd.platforms.kubernetes.cluster.discovery import UnknownKind
from pipecd.platforms.kubernetes.compared import comparisons
from pipecd.platforms.kubernetes.field_line import with_field_line
from pipecd.platforms.kubernetes.health.kinds import OUTDATED
from pipecd.platforms.kubernetes.health.states import Broken, Ready, State, Waiting, state_at
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import MANAGER
from pipecd.platforms.kubernetes.owned import identity_of, list_live
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages import recreate
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.problems import explain, find_problem

#: Objects of one group that are applied at the same time.
CONCURRENT = 8
#: So many objects of one kind and namespace are read by one request instead of one each.
LISTED_FROM = 4
#: Polling intervals while waiting (seconds).
_FIRST_POLL, _LAST_POLL, _DELETION_POLL = 0.1, 2.0, 5.0
#: Stage metadata: how many objects are applied, and since when the stage waits for something.
APPLIED = "pipecd/applied"
_UNKNOWN_SINCE, _WAITING_SINCE, _PROBLEM_SINCE, _DELETING_SINCE = (
    "pipecd/unknown-since",
    "pipecd/waiting-since",
    "pipecd/problem-since",
    "pipecd/deleting-since",
)


class Deadline:
    """When this call of the stage should return, to store its progress."""

    def __init__(self, settings: StageSettings) -> None:
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time() + settings.call_duration
        self._delay = _FIRST_POLL

    @property
    def passed(self) -> bool:
        return self._loop.time() >= self._at

    async def poll(self) -> None:
        """Waits before the next check of the cluster."""
        await asyncio.sleep(min(self._delay, max(0.0, self._at - self._loop.time())))
        self._delay = min(2 * self._delay, _LAST_POLL)


async def converge(job: Job, manifests: Sequence[Manifest]) -> Step:
    """One call's worth of applying `manifests`, in their order, and waiting. None when all work."""
    deadline, applied = Deadline(job.settings), int(job.work.saved.get(APPLIED, "0"))
    try:
        if applied == 0:
            await create_namespace(job)
        for group in order.groups(manifests[applied:]):
            if step := await _wait_before(job, manifests, applied, deadline):
                return step
            known = await _read_group(job, group)
            for start in range(0, len(group), CONCURRENT):
                batch = group[start : start + CONCURRENT]
                await _apply_all(job, batch, known, deadline)
                applied += len(batch)
                if deadline.passed:
                    break
            if deadline.passed:
                note = f"Applied {applied} of {len(manifests)} objects"
                return Again(saved={APPLIED: str(applied)}, note=note)
    except UnknownKind as error:
        return _wait_for_kind(job, error, applied)
    except BeingDeleted as error:
        return _wait_for_deletion(job, error, applied)
    if APPLIED not in job.work.saved or int(job.work.saved[APPLIED]) < applied:
        job.work.log.info(f"Applied {applied} objects")
    return await _finish(job, manifests, deadline, {APPLIED: str(applied)})


async def _finish(job: Job, manifests: Sequence[Manifest], deadline: Deadline, saved: dict[str, str]) -> Step:
    """Waits until the objects work; then ends pods that stayed until others took their place."""
    deployments = [manifest for manifest in manifests if manifest.kind == "Deployment"]
    namespaces = [(await place(job.cluster, found, job.namespace)).namespace for found in deployments]
    orphans = await recreate.find_orphans(job, namespaces)
    if job.spec.input.wait_for_ready:
        step = await _wait_until_ready(job, manifests, deadline, saved)
    else:
        step = await _wait_until_ready(job, deployments, deadline, saved) if orphans else None
    if step is None and orphans:
        # Those that the new Deployments adopted meanwhile are theirs.
        await recreate.delete_orphans(job, await recreate.find_orphans(job, namespaces))
    return step


async def _read_group(job: Job, group: Sequence[Manifest]) -> Mapping[tuple[str, ...], Object]:
    """The objects of a group that exist and belong to the application, by identity.

    Empty for kinds of which few objects are applied: reading these one by one is as fast.
    """
    by_path: defaultdict[str, list[Placed]] = defaultdict(list)
    for manifest in group if len(group) >= LISTED_FROM else ():
        try:
            placed = await place(job.cluster, manifest, job.namespace)
        except UnknownKind:
            continue
        by_path[placed.type.path(placed.namespace)].append(placed)
    known: dict[tuple[str, ...], Object] = {}
    for found in by_path.values():
        if len(found) >= LISTED_FROM:
            kind, namespace = found[0].type, found[0].namespace
            try:
                live = await list_live(job.cluster, kind, job.application, namespace)
            except (NotFound, PermissionDenied):
                continue
            known.update((identity_of(kind, item), item) for item in live)
    return known


async def _apply_all(
    job: Job, batch: Sequence[Manifest], known: Mapping[tuple[str, ...], Object], deadline: Deadline
) -> None:
    """Applies all, also after one fails. Raises the first error; an object to wait for is not one."""
    results = await asyncio.gather(
        *(_apply_one(job, manifest, known, deadline) for manifest in batch), return_exceptions=True
    )
    errors = [result for result in results if isinstance(result, BaseException)]
    errors.sort(key=lambda error: isinstance(error, BeingDeleted | UnknownKind))
    for error in errors[1:]:
        if isinstance(error, UserError) and not isinstance(error, BeingDeleted | UnknownKind):
            job.work.log.error(str(error))
    if errors:
        raise errors[0]


async def apply_one(job: Job, manifest: Manifest) -> None:
    """Apply one object. Raises as `converge`."""
    await _apply_one(job, manifest, {}, Deadline(job.settings))


async def _apply_one(
    job: Job, manifest: Manifest, known: Mapping[tuple[str, ...], Object], deadline: Deadline
) -> None:
    found = await place(job.cluster, manifest, job.namespace)
    placed = Placed(manifest=job.marked(found.manifest), type=found.type)
    live, delay = known.get(placed.identity), _FIRST_POLL
    while True:
        try:
            result = await apply(
                job.cluster,
                placed,
                job.application,
                job.work.log.info,
                rules=job.field_rules,
                known=live,
                declared=job.declared,
            )
        except BeingDeleted:
            if deadline.passed or _DELETING_SINCE in job.work.saved:
                raise
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LAST_POLL)
        except NotFound as error:
            raise Refused(
                f"{placed} cannot be applied: {error}",
                remedy="add its namespace to the application, or set input.autoCreateNamespace",
                place=manifest.place,
            ) from error
        except PermissionDenied as error:
            raise Refused(f"{placed} cannot be applied: {error}", place=manifest.place) from error
        except Refused as error:
            raise await with_field_line(job.source, found.manifest, error) from error.__cause__
        else:
            if not isinstance(result, MustRecreate):
                comparisons.add_applied(found, result, job.field_rules)
                return
            await recreate.delete(job, placed, result)
        live = None


async def create_namespace(job: Job) -> None:
    """The application's, if it asks for that. It gets no marks, so that it is never deleted."""
    name = job.spec.input.namespace
    if not (job.spec.input.auto_create_namespace and name):
        return
    namespaces = await job.cluster.kinds.find("v1", "Namespace")
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    try:
        live = await job.cluster.api.get(namespaces, "", name)
    except NotFound:
        try:
            await job.cluster.api.create(namespaces, "", body, manager=MANAGER)
        except AlreadyExists:
            return
        job.work.log.info(f"Created the namespace {name}")
    else:
        if live["metadata"].get("deletionTimestamp"):
            raise BeingDeleted(Placed(manifest=Manifest(body), type=namespaces), live)


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
    if job.work.now - since > job.settings.unknown_kind_timeout:
        raise error
    if _UNKNOWN_SINCE not in job.work.saved:
        job.work.log.info(f"Waiting for a kind to be defined: {error.what}")
    saved = {_UNKNOWN_SINCE: str(since), APPLIED: str(applied)}
    return Again(after=1.0, saved=saved, note=error.what)


def _wait_for_deletion(job: Job, error: BeingDeleted, applied: int) -> Step:
    """Finalizers may take a while. Raises `error` if they take too long."""
    before, _, key = job.work.saved.get(_DELETING_SINCE, "").partition(" ")
    since = float(before) if key == error.key else job.work.now
    if job.work.now - since > job.settings.deletion_timeout:
        raise error
    if key != error.key:
        job.work.log.info(f"Waiting: {error.what}")
    saved = {_DELETING_SINCE: f"{since} {error.key}", APPLIED: str(applied)}
    return Again(after=_DELETION_POLL, saved=saved, note=error.what)


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
        await place(job.cluster, manifest, job.namespace)
        for manifest in manifests
        if every_kind or job.cluster.health.is_waited_for(manifest.api_version, manifest.kind)
    ]
    notes: dict[str, str] = {}
    problems: dict[str, str] = {}
    while pending:
        states = await asyncio.gather(*(_state(job, placed) for placed in pending))
        by_object = list(zip(pending, states, strict=True))
        for placed, state in by_object:
            if isinstance(state, Broken):
                return await _failed(job, placed, state.reason)
        waiting = [(placed, state) for placed, state in by_object if isinstance(state, Waiting)]
        notes = {str(placed): state.note for placed, state in waiting}
        problems = {str(placed): state.problem for placed, state in waiting if state.problem}
        pending = [placed for placed, state in by_object if not isinstance(state, Ready)]
        if not pending or deadline.passed:
            break
        await deadline.poll()
    return await _still_waiting(job, pending, notes, problems, saved) if pending else None


async def _state(job: Job, placed: Placed) -> State:
    live = await find_live(job.cluster, placed)
    if live is None:
        return Broken("it was deleted by another program")
    state = job.cluster.health.state_of(live, has_status=placed.type.has_status)
    return state_at(state, job.work.now)


async def _still_waiting(
    job: Job,
    pending: Sequence[Placed],
    notes: dict[str, str],
    problems: Mapping[str, str],
    saved: dict[str, str],
) -> Step:
    """Again, or a failure if objects or their pods have had a problem for too long."""
    first = pending[0]
    note = f"{first} {notes.get(str(first), '')}".rstrip()
    since = float(job.work.saved.get(_WAITING_SINCE, job.work.now))
    saved = {**saved, _WAITING_SINCE: str(since)}
    if _WAITING_SINCE not in job.work.saved:
        job.work.log.info(f"Waiting: {note}")
    has_deadline = first.manifest.kind == "Deployment" and notes.get(str(first)) != OUTDATED
    timeout = job.settings.ready_timeout
    if job.work.now - since > timeout and not has_deadline:
        return await _failed(job, first, f"not ready after {timeout / 60:g} minutes: {note}")
    of_pods = [problem for placed in pending if (problem := await find_problem(job, placed))]
    shown = [*of_pods, *(f"{name}: {problem}" for name, problem in problems.items())]
    if not shown:
        return Again(saved={**saved, _PROBLEM_SINCE: ""}, note=note)
    problem_since = float(job.work.saved.get(_PROBLEM_SINCE) or job.work.now)
    if not job.work.saved.get(_PROBLEM_SINCE):
        job.work.log.error(shown[0])
    if job.work.now - problem_since > job.settings.problem_timeout:
        broken = next((placed for placed in pending if str(placed) in problems and not of_pods), first)
        return await _failed(job, broken, notes.get(str(broken), ""))
    return Again(saved={**saved, _PROBLEM_SINCE: str(problem_since)}, note=shown[0])


async def _failed(job: Job, placed: Placed, reason: str) -> Failed:
    """With what its pods say. `reason` may be a sentence of the cluster's."""
    problem = await explain(job, placed)
    return Failed(
        reason=f"{placed} does not work: {reason.rstrip('.')}" + (f"; {problem}" if problem else ""),
        remedy="fix the application; its pods and their logs show more",
    )
