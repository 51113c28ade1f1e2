"""Reports the last results of the receivers to the control plane, and sends test messages for it."""

from collections.abc import Callable

from pipecd.client import Client
from pipecd.clock import Clock
from pipecd.config.piped import PipedSpec
from pipecd.errors import NotFound, Unsupported
from pipecd.notify.message import test_message
from pipecd.notify.opening import type_of
from pipecd.piped.loop import Feed
from pipecd.piped.notify.receivers import Receivers, Status
from pipecd.piped.session.lease import Leadership
from pipecd.schema.pipecd.v1.notifications_pb2 import ReceiverStatus, ReportReceiversRequest

#: At least this often, whether or not something changed (seconds).
INTERVAL = 60.0
#: Between reports of changes (seconds), so that many events are one report.
_MIN_INTERVAL = 1.0
_MAX_RECEIVERS, _MAX_ERROR, _MAX_NAME = 200, 1000, 200


class ReceiverReports:
    def __init__(
        self,
        client: Client,
        spec: PipedSpec,
        web_address: str,
        receivers: Receivers | None,
        leadership: Leadership,
        redact: Callable[[str], str],
        clock: Clock,
    ) -> None:
        """`receivers` is None if the agent's file has none; that is reported, too."""
        self._client, self._spec, self._web_address = client, spec, web_address
        self._receivers, self._leadership, self._redact, self._clock = receivers, leadership, redact, clock
        self._types = {receiver.name: type_of(receiver) for receiver in spec.notifications.receivers}
        self._reported: ReportReceiversRequest | None = None
        self._supported = True
        self.changed = receivers.changed if receivers else Feed()

    async def report(self) -> None:
        """Does nothing if nothing changed, or the control plane is PipeCD's or an older one."""
        if not self._supported or not self._leadership.lease.may_begin:
            return
        statuses = self._receivers.statuses()[:_MAX_RECEIVERS] if self._receivers else ()
        request = ReportReceiversRequest(receivers=[self._to_wire(status) for status in statuses])
        if request == self._reported:
            return
        try:
            await self._client.call(self._client.agent.ReportReceivers, request)
        except Unsupported:
            self._supported = False
            return
        self._reported = request
        await self._clock.sleep(_MIN_INTERVAL)

    async def test(self, name: str) -> None:
        """Raises NotFound, or what the receiver failed with."""
        if self._receivers is None:
            raise NotFound(f"the agent has no receiver {name!r}")
        spec = self._spec
        message = test_message(
            piped=spec.piped_id,
            project=spec.project_id,
            web_address=self._web_address,
            at=int(self._clock.now()),
        )
        await self._receivers.test(name, message)

    def _to_wire(self, status: Status) -> ReceiverStatus:
        return ReceiverStatus(
            name=status.name[:_MAX_NAME],
            type=self._types[status.name],
            succeeded_at=int(status.succeeded.at) if status.succeeded else 0,
            failed_at=int(status.failed.at) if status.failed else 0,
            error=self._redact(status.failed.error)[:_MAX_ERROR] if status.failed else "",
            waiting=status.waiting,
        )
