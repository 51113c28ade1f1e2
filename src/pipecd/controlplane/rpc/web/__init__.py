"""WebService handlers: the calls of PipeCD's console protocol: those of `rpc.shared`, and one file per
resource."""

from collections.abc import Mapping

from pipecd.controlplane.rpc import shared
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
from pipecd.schema.web.service_pb2 import DESCRIPTOR

HANDLERS: Mapping[str, Handler] = {
    **shared.handlers(DESCRIPTOR.services_by_name["WebService"]),
    **api_keys.HANDLERS,
    **applications.HANDLERS,
    **deployments.HANDLERS,
    **insights.HANDLERS,
    **pipeds.HANDLERS,
    **project.HANDLERS,
    **records.HANDLERS,
}
