"""Sends the agent's metrics to the control plane, which derives the agent's online state from their age."""

from prometheus_client import generate_latest

from pipecd.client import Client
from pipecd.piped.metrics import REGISTRY
from pipecd.schema.agent.pipeds_pb2 import ReportStatRequest

#: Seconds. The control plane shows an agent as offline after two minutes without a report.
INTERVAL = 60.0


async def report_stat(client: Client) -> None:
    await client.call(client.piped.ReportStat, ReportStatRequest(piped_stats=generate_latest(REGISTRY)))
