"""APIService handlers: calls for programs with an API key (pipectl, CI, Terraform), one file per resource."""

from collections.abc import Mapping

from pipecd.controlplane.rpc.api import applications, deployments, events, pipeds, plan_previews
from pipecd.controlplane.rpc.method import Handler

HANDLERS: Mapping[str, Handler] = {
    **applications.HANDLERS,
    **deployments.HANDLERS,
    **events.HANDLERS,
    **pipeds.HANDLERS,
    **plan_previews.HANDLERS,
}
