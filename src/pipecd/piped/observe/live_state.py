"""Tells the control plane what runs of each application, and how healthy it is.

One of the agent's loops. What did not change is sent again only now and then, for a control plane that lost
it; and it is looked at less and less often, so that many applications at rest cost few calls. Once a
deployment has ended, it is looked at right away.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

from pipecd.client import Client
from pipecd.model.application import Application
from pipecd.model.drift import Clean
from pipecd.model.resource import Resource
from pipecd.piped.observe.desired_state import Looks
from pipecd.piped.observe.schedule import Pace, Rounds, installed_platform
from pipecd.piped.session.lease import Leadership
from pipecd.piped.session.view import View
from pipecd.platforms import Observes
from pipecd.schema.agent.live_state_pb2 import ReportApplicationLiveStateRequest
from pipecd.wire import snapshot_to

PACE = Pace(few=4, limit=60.0, soon=3.0)
#: For platforms that run a program: they must keep neither the machine nor the others waiting.
HEAVY = Pace(few=1, limit=600.0, soon=30.0)
#: How old what is known of the branch may be (seconds): it only says where to look. After a deployment,
#: that may be another place.
AGE = 60.0
#: When to look at what a deployment has left behind (seconds after its end).
SETTLED = 1.0
#: At rest, each look doubles the time until the next one, up to so many times the platform's interval.
AT_REST = 4
#: How often to send what did not change (seconds).
AGAIN = 600.0

#: The last deployment, and whether one is under way.
Deployments = tuple[str, bool]


class Living:
    def __init__(
        self, view: View, leadership: Leadership, client: Client, looks: Looks, clean: Clean
    ) -> None:
        self._view, self._leadership, self._client = view, leadership, client
        self._looks, self._clean = looks, clean
        self._sent: dict[str, tuple[float, Sequence[Resource]]] = {}
        #: By what the platform's interval is stretched.
        self._rest: dict[str, int] = {}
        #: Of which deployments the last look could see something.
        self._saw: dict[str, Deployments] = {}
        self._rounds = [
            Rounds("live state", PACE, partial(self._interval, False), self._look),
            Rounds("live state", HEAVY, partial(self._interval, True), self._look),
        ]

    async def follow(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            for rounds in self._rounds:
                tasks.create_task(rounds.follow(self._view, self._leadership), name="live state")

    def _interval(self, heavy: bool, application: Application) -> float | None:
        found = _observes(application.kind.name)
        if found is None or found.live_heavy is not heavy:
            return None
        application = self._view.known(application)
        if application.deploying:
            self._rest.pop(application.id, None)
        return until_next(
            found, application, saw=self._saw.get(application.id), rest=self._rest.get(application.id, 1)
        )

    async def _look(self, application: Application) -> None:
        before, now = self._saw.get(application.id), _deployments(self._view.known(application))
        self._saw[application.id] = now
        async with self._looks.at(application, age=AGE if before == now else 0.0) as found:
            if found is None:
                return
            look, _ = found
            observes = _observes(application.kind.name)
            assert observes
            resources = [replace(one, why=self._clean(one.why)) for one in await observes.live(look)]
        await self._send(application, resources)

    async def _send(self, application: Application, resources: Sequence[Resource]) -> None:
        at, sent = self._sent.get(application.id, (0.0, None))
        if sent == resources:
            self._rest[application.id] = min(AT_REST, 2 * self._rest.get(application.id, 1))
            if time.monotonic() - at < AGAIN:
                return
        else:
            self._rest.pop(application.id, None)
            self._looks.moved(application)
        snapshot = snapshot_to(application, resources, now=int(time.time()))
        request = ReportApplicationLiveStateRequest(snapshot=snapshot)
        await self._client.call(self._client.piped.ReportApplicationLiveState, request)
        self._sent[application.id] = (time.monotonic(), resources)
        known = self._view.applications
        self._sent = {key: one for key, one in self._sent.items() if key in known}
        self._rest = {key: one for key, one in self._rest.items() if key in known}
        self._saw = {key: one for key, one in self._saw.items() if key in known}


def until_next(observes: Observes, application: Application, *, saw: Deployments | None, rest: int) -> float:
    """How long after one look the next is due (seconds). `saw` is what the last look could see, if any."""
    if application.deploying:
        return min(observes.live_interval, observes.live_deploying)
    if saw not in (None, _deployments(application)):
        return SETTLED
    return observes.live_interval * rest


def _deployments(application: Application) -> Deployments:
    last = application.last_triggered
    return last.deployment_id if last else "", application.deploying


@cache
def _observes(kind: str) -> Observes | None:
    found = installed_platform(kind)
    return found if isinstance(found, Observes) else None
