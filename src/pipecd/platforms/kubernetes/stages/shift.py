"""Steps that move traffic between variants. Called by traffic routing, and by stages that delete a variant.

A variant gets traffic only when it has ready pods. That traffic was moved is stored before it is moved, so a
rollback has it after a kill.
"""

from collections.abc import Mapping
from dataclasses import replace

from pipecd.errors import ConfigError, Refused
from pipecd.model.stage import Again, Failed
from pipecd.platforms.kubernetes.apply import MustRecreate, Placed, apply, find_live, place
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.stages.job import Job, Step
from pipecd.platforms.kubernetes.stages.serving import why_not_serving, why_primary_cannot_carry
from pipecd.platforms.kubernetes.traffic import ALL_PRIMARY, Routing, find_routing, is_routed
from pipecd.platforms.kubernetes.traffic.routed import Headers, Shares
from pipecd.platforms.kubernetes.variants import BASELINE, CANARY, PRIMARY

#: Deployment metadata: when traffic was moved for the last time (epoch seconds).
MOVED = "pipecd/traffic-moved"
#: Stage metadata: which traffic was applied, and since when the stage waits for ready pods or for a Gateway.
_APPLIED, _SINCE = "pipecd/traffic-applied", "pipecd/traffic-since"
_POLL = 1.0


def find_route(job: Job) -> Routing | None:
    """The manifest that routes the traffic, if a stage of the pipeline does, and it is in this cluster."""
    if not is_routed(job.spec):
        return None
    try:
        return find_routing(job.spec, job.declared)
    except ConfigError:
        # It is another cluster's; that one has it was checked.
        return None


async def set_traffic(
    job: Job, routing: Routing, shares: Shares, headers: Headers | None = None, *, name: str = ""
) -> Step:
    """One step towards `shares`, and the requests with `headers` for the canary; None when it is effective.

    `name` distinguishes several changes of one stage.
    """
    placed = await _placed(job, routing.route(shares, headers))
    key = f"{name}:{sorted(shares.items())}:{sorted((headers or {}).items())}"
    if job.work.saved.get(_APPLIED) != key:
        if reason := await _why_not_ready(job, routing, placed, shares, headers):
            return _wait(job, reason, job.settings.serving_timeout, "fix its pods; their logs show more")
        if MOVED not in job.work.shared:
            return Again(shared={MOVED: str(job.work.now)})
        await _apply(job, placed)
        text = ", ".join(f"{variant} {share} %" for variant, share in shares.items() if share)
        job.work.log.success(f"{placed}: traffic is routed to {text}")
        saved = {_APPLIED: key, _SINCE: "", **percentages(shares)}
        return Again(saved=saved, shared={MOVED: str(job.work.now)})
    live = await find_live(job.cluster, placed)
    reason = routing.method.pending(Manifest(live)) if live else "it was deleted by another program"
    if reason:
        return _wait(
            job,
            f"{placed} is not effective: {reason}",
            job.settings.accepted_timeout,
            "check the route and its Gateway; the status of the route shows more",
        )
    return None


def percentages(shares: Shares) -> Mapping[str, str]:
    """Stage metadata of PipeCD, which consoles show."""
    return {f"{name}-percentage": str(share) for name, share in shares.items()}


async def _placed(job: Job, manifest: Manifest) -> Placed:
    found = await place(job.cluster, manifest, job.namespace)
    return replace(found, manifest=replace(job, variant=None).marked(found.manifest))


async def _apply(job: Job, placed: Placed) -> None:
    if isinstance(await apply(job.cluster, placed, job.application, job.work.log.info), MustRecreate):
        raise Refused(
            f"{placed} routes traffic, and would be deleted to change it",
            remedy="remove the annotations that ask for that",
            place=placed.manifest.place,
        )


async def _why_not_ready(
    job: Job, routing: Routing, placed: Placed, shares: Shares, headers: Headers | None
) -> str:
    live = await find_live(job.cluster, placed)
    comes_back = live is not None and PRIMARY not in routing.receiving(Manifest(live))
    for variant, share in shares.items():
        if not share and not (headers and variant == CANARY):
            continue
        if variant == PRIMARY and (share == 100 or comes_back):
            reason = await why_primary_cannot_carry(job, routing)
        else:
            reason = await why_not_serving(job, routing, variant)
        if reason:
            return f"the {variant} gets no traffic: {reason}"
    return ""


def _wait(job: Job, reason: str, timeout: float, remedy: str) -> Step:
    since = float(job.work.saved.get(_SINCE) or job.work.now)
    if job.work.now - since > timeout:
        return Failed(reason=reason, remedy=remedy)
    if not job.work.saved.get(_SINCE):
        job.work.log.info(f"Waiting: {reason}")
    return Again(after=_POLL, saved={_SINCE: str(since)}, note=reason)


async def is_routed_to(job: Job, routing: Routing, *variants: str) -> bool:
    """Whether one of the variants gets traffic."""
    live = await find_live(job.cluster, await _placed(job, routing.manifest))
    return live is not None and bool(routing.receiving(Manifest(live)) & set(variants))


async def take_traffic_from(job: Job, routing: Routing, *variants: str) -> Step:
    """One step of routing all traffic to the primary variant, if one of the variants gets some."""
    if _APPLIED in job.work.saved or await is_routed_to(job, routing, *variants):
        return await route_to_primary(job, routing)
    return None


async def take_traffic_back(job: Job, routing: Routing) -> Step:
    """One step of routing all traffic to the primary variant, if it gets less and can carry it now."""
    started = _APPLIED in job.work.saved
    if not started and await why_primary_cannot_carry(job, routing):
        return None
    step = await take_traffic_from(job, routing, CANARY, BASELINE)
    # A failure is reported after the primary variant is restored, which may be its cause.
    return None if isinstance(step, Failed) else step


async def route_to_primary(job: Job, routing: Routing) -> Step:
    """One step towards all traffic for the primary variant, by the manifest in Git."""
    return await set_traffic(job, routing, ALL_PRIMARY)


def wait_until_settled(job: Job) -> Step:
    """None when proxies have applied the last change of traffic."""
    settle = job.spec.traffic_routing.settle.total_seconds()
    remaining = float(job.work.shared.get(MOVED, "-inf")) + settle - job.work.now
    if remaining <= 0:
        return None
    return Again(
        after=remaining, note=f"Waiting {settle:g} s, because proxies apply a change of traffic later"
    )
