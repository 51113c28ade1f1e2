"""Runs one worker per application with unfinished deployments, which runs them in order, oldest first.

Woken by changes of the view and the lease. If another process takes the lease, all workers are cancelled at
once and nothing is reported; regaining the lease starts them again.
"""

import asyncio
from enum import Enum
from functools import partial

import structlog

from pipecd.errors import NotFound, PermissionDenied, PipecdError
from pipecd.model.deployment import Deployment
from pipecd.model.queue import next_deployment
from pipecd.piped.deploy.rollout import Rollout, RolloutServices
from pipecd.piped.loop import Wake
from pipecd.piped.metrics import INTERNAL_ERRORS
from pipecd.retry import Backoff

log = structlog.get_logger()


class RunResult(Enum):
    #: The deployment ended, or no longer belongs to this agent.
    ENDED = "ended"
    #: It waits for its turn in a chain, and another deployment may go first.
    WAITING = "waiting"
    #: By an error; it must be run again.
    INTERRUPTED = "interrupted"


class Workers:
    def __init__(self, services: RolloutServices) -> None:
        self._services = services
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._wake = Wake()

    async def dispatch(self) -> None:
        """Starts and stops workers as deployments and the lease change. Runs until cancelled."""
        view, leadership = self._services.view, self._services.leadership
        await view.wait_until_loaded()
        with view.deployments_feed.subscribe(self._wake), leadership.feed.subscribe(self._wake):
            async with asyncio.TaskGroup() as tasks:
                while True:
                    if leadership.lease.must_stop:
                        await self._stop_all()
                    elif leadership.lease.may_begin:
                        self._start_missing(tasks)
                    await self._wake.wait()

    def _start_missing(self, tasks: asyncio.TaskGroup) -> None:
        deployments = self._services.view.deployments.values()
        for application_id in {deployment.application_id for deployment in deployments}:
            if application_id not in self._workers:
                worker = tasks.create_task(
                    self._run_deployments(application_id), name=f"worker {application_id}"
                )
                self._workers[application_id] = worker
                worker.add_done_callback(partial(self._remove_worker, application_id))

    def _remove_worker(self, application_id: str, _: asyncio.Task[None]) -> None:
        """Wakes the dispatcher: a deployment may have arrived while the worker was ending."""
        del self._workers[application_id]
        self._wake()

    async def _stop_all(self) -> None:
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        if workers:
            log.warning("workers_stopped", count=len(workers), lease=self._services.leadership.lease.value)
            await asyncio.wait(workers)

    async def _run_deployments(self, application_id: str) -> None:
        """Runs the application's deployments one after another. An error affects only this application."""
        view, clock = self._services.view, self._services.clock
        policy = self._services.settings.worker_retry
        backoff = Backoff(policy)
        #: Of those of one commit, which have been tried and wait for their turn in a chain.
        passed: set[str] = set()
        #: One before it ended, which may have been the rollback of a pin that the view does not know yet.
        follows = False
        while listed := next_deployment(application_id, view.deployments.values(), passed):
            if listed.id in passed:
                passed = set()
            started = clock.monotonic()
            rollout_result = await self._run(listed, follows=follows)
            if rollout_result is RunResult.WAITING:
                passed.add(listed.id)
                continue
            passed = set()
            if rollout_result is RunResult.ENDED:
                follows = True
                backoff.reset()
                view.mark_finished(listed.id)
                view.request_refresh()
                continue
            if clock.monotonic() - started > policy.cap:
                # It ran for a while: this is another error than the one before.
                backoff.reset()
            await clock.sleep(backoff.next_delay())

    async def _run(self, listed: Deployment, *, follows: bool) -> RunResult:
        def another_may_go_first() -> bool:
            deployments = self._services.view.deployments.values()
            following = next_deployment(listed.application_id, deployments, {listed.id})
            return following is not None and following.id != listed.id

        try:
            if follows:
                await self._services.view.refresh_applications()
            deployment = await self._services.reporter.get_deployment(listed.id)
            waiting = await Rollout(deployment, self._services, another_may_go_first).run()
        except (NotFound, PermissionDenied) as error:
            log.error("deployment_not_accessible", deployment=listed.id, error=str(error))
        except PipecdError as error:
            log.error("deployment_paused", deployment=listed.id, error=str(error))
            return RunResult.INTERRUPTED
        except Exception:
            INTERNAL_ERRORS.labels(loop="worker").inc()
            log.exception("unhandled_error", deployment=listed.id)
            return RunResult.INTERRUPTED
        else:
            return RunResult.WAITING if waiting else RunResult.ENDED
        return RunResult.ENDED
