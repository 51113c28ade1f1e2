"""AgentService: ours, for our agent."""

from collections.abc import Mapping

from pipecd.controlplane.rpc import watch
from pipecd.controlplane.rpc.method import Handler

HANDLERS: Mapping[str, Handler] = {"Watch": watch.agent}
