"""Configuration of ECS: the application file and the stage options."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import InsideApplication, Percentage


class TargetGroup(StrictModel):
    target_group_arn: str = Field(min_length=1)
    """ARN of the target group."""
    container_name: str = ""
    """Name of the container that receives the traffic."""
    container_port: int = 0
    """Port of the container that receives the traffic."""
    load_balancer_name: str = ""
    """Not used: AWS determines the load balancer by the target group. Accepted for compatibility."""


class TargetGroups(StrictModel):
    primary: TargetGroup | None = None
    """Target group of the primary tasks."""
    canary: TargetGroup | None = None
    """Target group of the canary tasks; required for a canary with a load balancer."""

    @model_validator(mode="after")
    def _distinct_groups(self) -> Self:
        if self.primary and self.canary and self.primary.target_group_arn == self.canary.target_group_arn:
            raise ValueError("primary and canary must be different target groups")
        return self


class AwsVpcConfiguration(StrictModel):
    subnets: Sequence[str] = Field(default=(), max_length=16)
    """Ids of the subnets."""
    assign_public_ip: Literal["", "ENABLED", "DISABLED"] = ""
    """Whether the task gets a public IP address."""
    security_groups: Sequence[str] = Field(default=(), max_length=5)
    """Ids of the security groups."""


class Input(StrictModel):
    """Without `serviceDefinitionFile` it is a standalone task that runs in `clusterArn`."""

    cluster_arn: str = ""
    """ARN of the cluster, for a standalone task; a service names its cluster itself."""
    launch_type: Literal["FARGATE", "EC2"] = "FARGATE"
    """Where a standalone task runs."""
    awsvpc_configuration: AwsVpcConfiguration = AwsVpcConfiguration()
    """Network of a standalone task."""
    service_definition_file: InsideApplication = ""
    """Path of the service definition. Empty: a standalone task."""
    task_definition_file: InsideApplication = "taskdef.json"
    """Path of the task definition."""
    target_groups: TargetGroups = TargetGroups()
    """Target groups of the load balancer, with `accessType: ELB`."""
    auto_rollback: bool | None = None
    """Roll back when a deployment fails; takes precedence over `planner.autoRollback`."""
    run_standalone_task: bool = True
    """Run the standalone task. If false, its definition is only registered."""
    access_type: Literal["ELB", "SERVICE_DISCOVERY"] = "ELB"
    """How the tasks are reached: through a load balancer or service discovery."""


class QuickSync(LenientModel):
    recreate: bool = False
    """Stop the old tasks before the new ones start."""


class EcsApp(ApplicationSpec):
    input: Input = Input()
    """What is deployed."""
    quick_sync: QuickSync = QuickSync()
    """Options of a quick sync."""


class SyncOptions(LenientModel):
    recreate: bool = False
    """Stop the old tasks before the new ones start."""


class CanaryOptions(LenientModel):
    scale: Percentage = 0
    """Number of canary tasks, as a percentage of the service's desired count."""


class RoutingOptions(LenientModel):
    primary: Percentage = 0
    """Percentage of the traffic for the primary tasks; the canary gets the rest."""
    canary: Percentage = 0
    """Percentage of the traffic for the canary, if `primary` is 0. If both are 0, the primary tasks get all
    traffic.
    """

    @property
    def shares(self) -> tuple[int, int]:
        """Percent for primary and canary. `primary` takes precedence over `canary` if both are set."""
        if self.primary:
            return self.primary, 100 - self.primary
        return 100 - self.canary, self.canary
