"""WebService: everything the console calls of PipeCD's protocol, one file a noun."""

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
