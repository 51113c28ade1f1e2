"""AgentService handlers: pipecd's extension of PipeCD's protocol for its own agent."""

from collections.abc import Mapping

from pipecd.controlplane.rpc import watch
from pipecd.controlplane.rpc.method import Handler

HANDLERS: Mapping[str, Handler] = {"Watch": watch.watch_agent}
