"""Keeps a second process of the same piped from reporting while the first holds the lease.

A process that names itself must hold the lease to change anything; while nobody holds it, as after a restart
of the control plane, it is to come again. One that does not (PipeCD's own agent) is let through only while
nobody holds it.
"""

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.services import Plane
from pipecd.controlplane.store.leases import lease_of
from pipecd.errors import Conflict, Temporary

#: Calls that change what a deployment is. What an agent says of itself needs no lease.
FENCED = frozenset(
    {
        "CreateDeployment",
        "CreateDeploymentChain",
        "ReportDeploymentPlanned",
        "ReportDeploymentStatusChanged",
        "ReportDeploymentCompleted",
        "SaveDeploymentMetadata",
        "SaveDeploymentSharedMetadata",
        "SaveDeploymentPluginMetadata",
        "SaveStageMetadata",
        "ReportStageStatusChanged",
        "ReportCommandHandled",
        "ReportApplicationDeployingStatus",
        "ReportApplicationMostRecentDeployment",
    }
)


async def fence(plane: Plane, method: Method, agent: Agent) -> None:
    """Raises Conflict when another process is the piped's, Temporary when none is yet."""
    if method.name not in FENCED:
        return
    holder = await plane.store.leases.holder(lease_of(agent.piped_id))
    if holder and holder != agent.instance:
        raise Conflict(f"another agent is at work for piped {agent.piped_id}")
    if agent.instance and not holder:
        # What it did is true all the same: refused for good, it would be done a second time.
        raise Temporary(f"agent {agent.instance} does not hold the lease of piped {agent.piped_id} yet")
