"""Lease check: prevents a second process of the same piped from reporting while the first holds the lease.

A process that sends its instance must hold the lease to change anything; while no process holds it, as after
a restart of the control plane, it must retry. A process that sends none (PipeCD's own agent) is accepted only
while no process holds the lease.
"""

from pipecd.controlplane.auth.caller import Agent
from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.services import Services
from pipecd.controlplane.store.leases import piped_lease_name
from pipecd.errors import Conflict, Temporary

#: Calls that change deployments, commands or applications. Reports about the agent itself need no lease.
LEASE_REQUIRED = frozenset(
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


async def check_lease(services: Services, method: Method, agent: Agent) -> None:
    """Raises Conflict if another process holds the piped's lease, Temporary if no process holds it yet."""
    if method.name not in LEASE_REQUIRED:
        return
    holder = await services.store.leases.holder(piped_lease_name(agent.piped_id))
    if holder and holder != agent.instance:
        raise Conflict(f"another process holds the lease of piped {agent.piped_id}")
    if agent.instance and not holder:
        # The reported work was done: a permanent rejection would make the agent repeat it.
        raise Temporary(f"process {agent.instance} does not hold the lease of piped {agent.piped_id} yet")
