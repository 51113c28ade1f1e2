"""Asks providers of single sign-on again for the groups of users who are signed in.

`rpc.identity` calls `confirm` for each call and each heartbeat of a stream. When the provider has not been
asked for some time, the call waits for its answer: a user who was removed from a group loses the roles that
it gave, and a user whose sign-in the provider has ended is signed out. Sessions that are not used cause no
requests.
"""

import asyncio

import structlog
from prometheus_client import Counter

from pipecd.clock import Clock, timeout
from pipecd.controlplane.auth.sessions import Session, Sessions
from pipecd.controlplane.auth.sso.flow import SingleSignOn
from pipecd.controlplane.auth.sso.grants import CannotAsk, Grant, GrantEnded
from pipecd.controlplane.faults import contained
from pipecd.controlplane.settings import AuthSettings
from pipecd.errors import PermissionDenied, PipecdError, Unauthenticated
from pipecd.model.actor import Actor, ActorKind

log = structlog.get_logger()

CHECKS = Counter(
    "pipecd_group_checks_total",
    "Requests to providers of single sign-on for the groups of a signed-in user, by outcome.",
    ["outcome"],
)


class GroupChecks:
    def __init__(self, sessions: Sessions, sso: SingleSignOn, clock: Clock, settings: AuthSettings) -> None:
        self._sessions, self._sso, self._clock, self._settings = sessions, sso, clock, settings
        self._due: asyncio.Queue[tuple[Session, asyncio.Event]] = asyncio.Queue()
        #: Session → set when the check that runs has ended.
        self._running: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Ask providers, some at the same time, until cancelled.

        Calls do not ask themselves: a call that its caller cancels would lose a refresh token that the
        provider has just replaced.
        """
        slots = asyncio.Semaphore(self._settings.max_group_checks)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await slots.acquire()
                session, done = await self._due.get()
                task = tasks.create_task(self._check(session, done), name="group check")
                task.add_done_callback(lambda _: slots.release())

    async def confirm(self, session: Session) -> Session:
        """`session` with the groups that its user has now, after `Sessions.check`.

        If the provider does not answer, those that it confirmed last, up to `groupsMaxAge`. Raises
        Unauthenticated if the provider has ended the sign-in, or none of the groups has a role.
        """
        if not session.from_provider:
            return session
        max_age = self._sessions.lifetimes.groups_max_age
        if self._clock.now() >= session.next_check_at:
            await self._wait(session)
            session = await self._sessions.check(session)
        if 0 < max_age <= self._clock.now() - session.confirmed_at:
            raise Unauthenticated(
                "the provider of single sign-on has not confirmed your groups for too long; sign in again"
            )
        return session

    async def _wait(self, session: Session) -> None:
        done = self._running.get(session.id)
        if done is None:
            done = self._running[session.id] = asyncio.Event()
            self._due.put_nowait((session, done))
        try:
            async with timeout(self._clock, self._settings.group_check_wait):
                await done.wait()
        except TimeoutError:
            # The check continues; meanwhile, what the provider confirmed last is valid.
            log.warning("group_check_is_slow", project=session.project_id, username=session.username)

    async def _check(self, known: Session, done: asyncio.Event) -> None:
        try:
            with contained("check-groups"):
                until = self._clock.now() + self._settings.group_check_retry_interval
                # None: another replica asks.
                if session := await self._sessions.claim_check(known, until):
                    CHECKS.labels(await self._ask(session)).inc()
        except PipecdError as error:
            CHECKS.labels("failed").inc()
            log.warning(
                "groups_not_confirmed",
                project=known.project_id,
                username=known.username,
                error=str(error),
            )
        finally:
            del self._running[known.id]
            done.set()

    async def _ask(self, session: Session) -> str:
        """Returns the outcome. Raises Temporary, ConfigError or NotFound."""

        async def store(grant: Grant) -> None:
            await self._sessions.set_grant(session, grant.to_json())

        actor = _actor(session)
        if not session.grant:
            # It was encrypted with another key.
            await self._sessions.set_grant(session, "")
            return "impossible"
        try:
            now = await self._sso.ask_again(session, Grant.from_json(session.grant), store)
        except CannotAsk:
            await self._sessions.set_grant(session, "")
            return "impossible"
        except (GrantEnded, PermissionDenied) as error:
            log.info(
                "session_ended_by_provider",
                project=session.project_id,
                username=session.username,
                reason=str(error),
            )
            await self._sessions.end(session, by=actor)
            return "ended"
        await self._sessions.confirm(session, now, by=actor)
        if (now.groups, now.roles) == (session.groups, session.roles):
            return "same"
        log.info("groups_changed", project=now.project_id, username=now.username, groups=list(now.groups))
        return "changed"


def _actor(session: Session) -> Actor:
    return Actor(
        kind=ActorKind.JOB,
        id="check-groups",
        name="check-groups",
        action="check-groups",
        project_id=session.project_id,
    )
