"""Runs the phases of a stage in every cluster of an application. Called by the stages.

Usually there is one cluster. With several, a phase begins when the one before it has ended in all of them, so
waves keep their order, and nothing is deleted before everything works. A stage does not notice: its metadata,
its storage and its log are those of its cluster.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pipecd.errors import ConfigError, NotFound, PipecdError, Refused, Temporary, UserError
from pipecd.json_input import decode_json
from pipecd.model.stage import Again, Failed, Source, StageLog, Storage, Work
from pipecd.platforms.kubernetes.cluster.connection import connect
from pipecd.platforms.kubernetes.config import StageTargets
from pipecd.platforms.kubernetes.hooks import split, sync_waves
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.order import wave
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.stages import prune
from pipecd.platforms.kubernetes.stages.converge import converge
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.targets import Assignment, Target, assign, limit, read_routes

#: One part of a stage in one cluster. It does nothing if it was done before.
Phase = Callable[[Job], Awaitable[Step]]

#: Name in the application's storage: the platform providers that it was deployed to.
STORED = "kubernetes-targets"
#: Stage metadata: the number of the current phase; the last phase that a cluster has ended; why it failed.
_PHASE, _ENDED, _FAILED = "pipecd/phase", "pipecd/phase-ended", "pipecd/failed"


@asynccontextmanager
async def open_jobs(
    work: Work[Any],
    settings: StageSettings,
    source: Source,
    manifests: Sequence[Manifest],
    *,
    prune: bool = False,
    also: Callable[[Work[Any]], Awaitable[bool]] | None = None,
) -> AsyncIterator[Sequence[Job]]:
    """One job for each cluster with objects of the application; with `prune`, also those that had some.

    Without `prune`, `also` decides for each that had some, by the work done there. Raises ConfigError.
    """
    own = Target(name=work.deployment.platform_provider, provider=work.provider)
    routes = read_routes(source.config)
    assignments: Sequence[Assignment] = list(assign(manifests, routes, own, work.providers))
    names = limited_to(work)
    if routes or prune or also:
        former = await _former_targets(work, own, assignments, prune=bool(prune or also) and not names)
        if also:
            former = [item for item in former if await also(_work_of(work, item.target, own))]
        assignments = [*assignments, *former]
    assignments, others = limit(assignments, names, place=source.config.place("spec", "pipeline"))
    async with AsyncExitStack() as stack:
        jobs: list[Job] = []
        for item in assignments:
            cluster = await stack.enter_async_context(connect(item.target.provider))
            declared, hooks = split(item.manifests, enabled=source.config.spec.input.hooks)
            job = Job(
                work=_work_of(work, item.target, own) if len(assignments) + len(others) > 1 else work,
                cluster=cluster,
                settings=settings,
                source=source,
                declared=declared,
                hooks=hooks,
                elsewhere=[manifest for other in others for manifest in other.manifests],
                target=item.target,
                is_own=item.target.name == own.name,
                all_jobs=jobs,
            )
            jobs.append(job)
        yield jobs


def limited_to(work: Work[Any]) -> Sequence[str]:
    """The clusters that the stage names; empty for all. A rollback has no options."""
    return work.options.multi_targets if isinstance(work.options, StageTargets) else ()


async def _former_targets(
    work: Work[Any], own: Target, current: Sequence[Assignment], *, prune: bool
) -> Sequence[Assignment]:
    """With `prune`, the clusters that have objects of earlier deployments only. Stores all of them."""
    names = [item.target.name for item in current]
    known = await _load_names(work) or [own.name]
    former = [name for name in known if name not in names]
    if not set(names) <= set(known):
        await _store_names(work, [*former, *names])
    targets: list[Target] = []
    for name in former if prune else ():
        try:
            targets += [own] if name == own.name else _targets_named(work, name)
        except ConfigError as error:
            work.log.info(f"Objects in the cluster of {name} are not deleted: {error.what}")
    return [Assignment(target=target, manifests=()) for target in targets]


async def forget_former_targets(work: Work[Any], jobs: Sequence[Job]) -> None:
    """After pruning: clusters without objects of the application are not read again."""
    names = [job.target.name for job in jobs if job.declared or job.hooks]
    if len(names) < len(jobs):
        await _store_names(work, names)


def _targets_named(work: Work[Any], name: str) -> Sequence[Target]:
    return [Target(name=found.name, provider=found.config) for found in work.providers(name)]


async def _load_names(work: Work[Any]) -> Sequence[str]:
    try:
        return [str(name) for name in decode_json(await work.storage.load(STORED))]
    except (NotFound, Refused):
        return ()


async def _store_names(work: Work[Any], names: Sequence[str]) -> None:
    await work.storage.store(STORED, json.dumps(names).encode())


async def run_phases(
    work: Work[Any], jobs: Sequence[Job], phases: Sequence[Phase], *, despite_failures: bool = False
) -> Step:
    """None when all phases have ended in all clusters.

    A failure in one cluster fails the stage; `despite_failures`, it does so when the others have ended.
    """
    if len(jobs) == 1 and jobs[0].work is work:
        for phase in phases:
            if step := await phase(jobs[0]):
                return step
        return None
    for number in range(int(work.saved.get(_PHASE, "0")), len(phases)):
        pending = [job for job in jobs if not _has_ended(work, job, number)]
        results = await asyncio.gather(*map(phases[number], pending), return_exceptions=True)
        if step := _merge(work, pending, results, number, despite_failures=despite_failures):
            return step
        if number + 1 < len(phases):
            return Again(saved={_PHASE: str(number + 1)})
    failures = [reason for job in jobs if (reason := work.saved.get(_key(_FAILED, job.target)))]
    return Failed(reason="; ".join(failures)) if failures else None


async def run_with_pruning(
    work: Work[Any],
    jobs: Sequence[Job],
    phases: Sequence[Phase],
    list_obsolete: Phase | None,
    *,
    after: Sequence[Phase] = (),
) -> Step:
    """`run_phases`, between listing and deleting what is obsolete, and `after` that.

    None as `list_obsolete`: nothing is.
    """
    if list_obsolete is None:
        return await run_phases(work, jobs, [*phases, *after])
    if step := await run_phases(work, jobs, [list_obsolete, *phases, prune.delete, *after]):
        return step
    if not limited_to(work):
        await forget_former_targets(work, jobs)
    return None


def waves(jobs: Sequence[Job]) -> Sequence[int | None]:
    """For `converge_wave`: all must work before a wave begins in one of several clusters, or after a hook."""
    of_hooks = set().union(*(sync_waves(job.hooks) for job in jobs))
    if len(jobs) == 1:
        return [*sorted(of_hooks), None]
    return sorted(of_hooks | {wave(manifest) for job in jobs for manifest in job.declared}) or [None]


async def converge_wave(job: Job, manifests: Sequence[Manifest], last: int | None) -> Step:
    """`converge` with the objects of the waves up to `last`; None is all waves."""
    if last is None:
        return await converge(job, manifests)
    included = [manifest for manifest in manifests if wave(manifest) <= last]
    return await converge(job, included) if included else None


def restarted(jobs: Sequence[Job], *cleared: str) -> Mapping[str, str]:
    """Stage metadata with which `run_phases` begins with the first of other phases.

    The values with the keys `cleared` are empty in every cluster.
    """
    ended = {_key(_ENDED, job.target): "-1" for job in jobs}
    empty = {key if job.is_own else _key(key, job.target): "" for job in jobs for key in cleared}
    return {_PHASE: "0", **ended, **empty}


def _has_ended(work: Work[Any], job: Job, number: int) -> bool:
    ended = int(work.saved.get(_key(_ENDED, job.target), "-1")) >= number
    return ended or _key(_FAILED, job.target) in work.saved


def _merge(
    work: Work[Any],
    jobs: Sequence[Job],
    results: Sequence[Step | BaseException],
    number: int,
    *,
    despite_failures: bool,
) -> Step:
    """The step of the stage. Raises Temporary if nothing is left but clusters that cannot be used now."""
    progress, failures = _Progress(), []
    temporary: list[tuple[Job, Temporary]] = []
    for job, result in zip(jobs, results, strict=True):
        if result is None:
            progress.saved[_key(_ENDED, job.target)] = str(number)
        elif isinstance(result, Again):
            progress.add(job.target, result, own=job.is_own)
        elif isinstance(result, Temporary):
            temporary.append((job, result))
        elif isinstance(result, PipecdError | Failed):
            failure = _failure(job.target, result)
            failures.append(failure)
            progress.saved[_key(_FAILED, job.target)] = (
                f"{failure.reason}; {failure.remedy}" if failure.remedy else failure.reason
            )
        else:
            raise result
    if failures and not despite_failures:
        reasons = "; ".join(failure.reason for failure in failures)
        return Failed(reason=reasons, remedy=failures[0].remedy)
    for failure in failures:
        work.log.error(failure.reason)
    if temporary and not progress.exists:
        job, error = temporary[0]
        raise Temporary(f"{job.target}: {error}", after=error.after)
    if not (progress.afters or temporary or failures):
        return None
    notes = [*progress.notes, *(f"{job.target}: {error}" for job, error in temporary)]
    return Again(
        after=min(progress.afters, default=0.0),
        note="; ".join(notes),
        saved=progress.saved,
        shared=progress.shared,
    )


@dataclass
class _Progress:
    saved: dict[str, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    afters: list[float] = field(default_factory=list)

    @property
    def exists(self) -> bool:
        return bool(self.saved or self.afters)

    def add(self, target: Target, step: Again, *, own: bool) -> None:
        for mine, its in ((self.saved, step.saved), (self.shared, step.shared)):
            mine.update({key if own else _key(key, target): value for key, value in its.items()})
        self.afters.append(step.after)
        if step.note:
            self.notes.append(f"{target}: {step.note}")


def _failure(target: Target, error: PipecdError | Failed) -> Failed:
    if isinstance(error, Failed):
        return Failed(reason=f"{target}: {error.reason}", remedy=error.remedy)
    if isinstance(error, UserError):
        place = f"{error.place}: " if error.place else ""
        return Failed(reason=f"{target}: {place}{error.what}", remedy=error.remedy)
    return Failed(reason=f"{target}: {error}")


def _key(key: str, target: Target) -> str:
    return f"{key}@{target.name}"


def _work_of(work: Work[Any], target: Target, own: Target) -> Work[Any]:
    """`work` as one of several clusters sees it. That of the own cluster has the usual names."""
    log = _ClusterLog(work.log, str(target))
    if target.name == own.name:
        return replace(work, log=log)
    return replace(
        work,
        log=log,
        provider=target.provider,
        stage=replace(work.stage, metadata=_of_target(work.saved, target)),
        deployment=replace(work.deployment, shared=_of_target(work.shared, target)),
        storage=_ClusterStorage(work.storage, hashlib.sha256(target.name.encode()).hexdigest()[:16]),
    )


def _of_target(metadata: Mapping[str, str], target: Target) -> dict[str, str]:
    suffix = _key("", target)
    return {key.removesuffix(suffix): value for key, value in metadata.items() if key.endswith(suffix)}


@dataclass(frozen=True)
class _ClusterLog:
    log: StageLog
    name: str

    def info(self, text: str) -> None:
        self.log.info(f"[{self.name}] {text}")

    def success(self, text: str) -> None:
        self.log.success(f"[{self.name}] {text}")

    def error(self, text: str) -> None:
        self.log.error(f"[{self.name}] {text}")

    async def drain(self) -> None:
        await self.log.drain()


@dataclass(frozen=True)
class _ClusterStorage:
    storage: Storage
    suffix: str

    async def store(self, name: str, data: bytes) -> None:
        await self.storage.store(f"{name}-{self.suffix}", data)

    async def load(self, name: str) -> bytes:
        return await self.storage.load(f"{name}-{self.suffix}")
