"""WebService handlers: the calls of PipeCD's console protocol, one file per resource."""

from collections.abc import Mapping

from pipecd.controlplane.rpc.method import Handler
from pipecd.controlplane.rpc.web import (
    api_keys,
    applications,
    deployments,
    insights,
    pipeds,
    project,
    records,
)

HANDLERS: Mapping[str, Handler] = {
    **api_keys.HANDLERS,
    **applications.HANDLERS,
    **deployments.HANDLERS,
    **insights.HANDLERS,
    **pipeds.HANDLERS,
    **project.HANDLERS,
    **records.HANDLERS,
}
