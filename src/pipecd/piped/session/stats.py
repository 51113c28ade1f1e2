"""Sends the agent's metrics to the control plane, which takes from their age whether the agent is alive."""

from prometheus_client import generate_latest

from pipecd.client import Client
from pipecd.piped.metrics import REGISTRY
from pipecd.schema.agent.pipeds_pb2 import ReportStatRequest

#: Seconds. The control plane takes an agent that was silent for two minutes for offline.
INTERVAL = 60.0


async def report_stat(client: Client) -> None:
    await client.call(client.piped.ReportStat, ReportStatRequest(piped_stats=generate_latest(REGISTRY)))
