"""PipedService handlers: the calls of PipeCD's agent protocol, one file per resource."""

from collections.abc import Mapping

from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.piped import (
    applications,
    chains,
    commands,
    deployments,
    events,
    live_state,
    logs,
    objects,
    pipeds,
)

HANDLERS: Mapping[str, Handler] = {
    **applications.HANDLERS,
    **chains.HANDLERS,
    **commands.HANDLERS,
    **deployments.HANDLERS,
    **events.HANDLERS,
    **live_state.HANDLERS,
    **logs.HANDLERS,
    **objects.HANDLERS,
    **pipeds.HANDLERS,
}
