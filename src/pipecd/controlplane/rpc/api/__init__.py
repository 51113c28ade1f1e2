"""APIService handlers: calls for programs with an API key (pipectl, CI, Terraform): those of `rpc.shared`,
and one file per resource."""

from collections.abc import Mapping

from pipecd.controlplane.rpc import shared
from pipecd.controlplane.rpc.api import applications, deployments, events, pipeds, plan_previews
from pipecd.controlplane.rpc.method import Handler
from pipecd.schema.api.service_pb2 import DESCRIPTOR

HANDLERS: Mapping[str, Handler] = {
    **shared.handlers(DESCRIPTOR.services_by_name["APIService"]),
    **applications.HANDLERS,
    **deployments.HANDLERS,
    **events.HANDLERS,
    **pipeds.HANDLERS,
    **plan_previews.HANDLERS,
}
