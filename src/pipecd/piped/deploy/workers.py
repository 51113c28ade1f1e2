"""One worker for each application that has a deployment under way; it takes them oldest first.

Woken by the view and by the lease. Another holder of the lease ends all workers at once, and nothing is
reported; the lease coming back starts them again.
"""

import asyncio
import random
from collections.abc import Iterable
from functools import partial

import structlog

from pipecd.errors import NotFound, PermissionDenied, PipecdError
from pipecd.model.deployment import Deployment
from pipecd.piped.deploy.rollout import Desk, Rollout
from pipecd.piped.loop import Wake
from pipecd.piped.metrics import FAULTS
from pipecd.retry import Retry

log = structlog.get_logger()

#: How soon a worker takes up again what broke off.
AGAIN = Retry(base=1.0, cap=60.0, tries=1_000_000)


class Workers:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._wake = Wake()

    async def dispatch(self) -> None:
        """Start and end workers as deployments and the lease come and go, for ever."""
        view, leadership = self._desk.view, self._desk.leadership
        await view.loaded()
        with view.deployments_feed.heard_by(self._wake), leadership.feed.heard_by(self._wake):
            async with asyncio.TaskGroup() as tasks:
                while True:
                    if leadership.lease.must_end:
                        await self._end_all()
                    elif leadership.lease.may_begin:
                        self._start_missing(tasks)
                    await self._wake.wait()

    def _start_missing(self, tasks: asyncio.TaskGroup) -> None:
        for application_id in {one.application_id for one in self._desk.view.deployments.values()}:
            if application_id not in self._at_work:
                worker = tasks.create_task(self._work(application_id), name=f"worker {application_id}")
                self._at_work[application_id] = worker
                worker.add_done_callback(partial(self._left, application_id))

    def _left(self, application_id: str, _: asyncio.Task[None]) -> None:
        """A deployment may have come while the worker was leaving."""
        del self._at_work[application_id]
        self._wake()

    async def _end_all(self) -> None:
        workers = list(self._at_work.values())
        for worker in workers:
            worker.cancel()
        if workers:
            log.warning("workers ended", count=len(workers), why=self._desk.leadership.lease.value)
            await asyncio.wait(workers)

    async def _work(self, application_id: str) -> None:
        """One deployment after the other. What goes wrong with one application stops no other."""
        view = self._desk.view
        delays = AGAIN.delays(random.Random())
        while listed := next_of(application_id, view.deployments.values()):
            try:
                await Rollout(await self._desk.reports.deployment(listed.id), self._desk).bring_to_end()
            except (NotFound, PermissionDenied) as error:
                log.error("deployment is not ours any more", deployment=listed.id, why=str(error))
            except PipecdError as error:
                log.error("deployment pauses", deployment=listed.id, why=str(error))
                await asyncio.sleep(next(delays))
                continue
            except Exception:
                FAULTS.labels(loop="worker").inc()
                log.exception("fault in a worker", deployment=listed.id)
                await asyncio.sleep(next(delays))
                continue
            view.finished(listed.id)
            view.look_again()


def next_of(application_id: str, deployments: Iterable[Deployment]) -> Deployment | None:
    """The one to bring forward: what is active already, else the oldest commit, else who asked first."""
    mine = [one for one in deployments if one.application_id == application_id]
    return min(
        mine,
        key=lambda one: (
            not one.status.active,
            one.trigger.commit.created_at,
            one.trigger.timestamp,
            one.id,
        ),
        default=None,
    )
