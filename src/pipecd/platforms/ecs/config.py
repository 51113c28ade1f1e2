"""Configuration of ECS: the application file and the stage options."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import InsideApplication, Percentage


class TargetGroup(StrictModel):
    target_group_arn: str = Field(min_length=1)
    container_name: str = ""
    container_port: int = 0
    load_balancer_name: str = ""


class TargetGroups(StrictModel):
    primary: TargetGroup | None = None
    canary: TargetGroup | None = None

    @model_validator(mode="after")
    def _distinct_groups(self) -> Self:
        if self.primary and self.canary and self.primary.target_group_arn == self.canary.target_group_arn:
            raise ValueError("primary and canary must be different target groups")
        return self


class AwsVpcConfiguration(StrictModel):
    subnets: Sequence[str] = Field(default=(), max_length=16)
    assign_public_ip: Literal["", "ENABLED", "DISABLED"] = ""
    security_groups: Sequence[str] = Field(default=(), max_length=5)


class Input(StrictModel):
    """Without `serviceDefinitionFile` it is a standalone task that runs in `clusterArn`."""

    cluster_arn: str = ""
    launch_type: Literal["FARGATE", "EC2"] = "FARGATE"
    awsvpc_configuration: AwsVpcConfiguration = AwsVpcConfiguration()
    service_definition_file: InsideApplication = ""
    task_definition_file: InsideApplication = "taskdef.json"
    target_groups: TargetGroups = TargetGroups()
    auto_rollback: bool | None = None
    run_standalone_task: bool = True
    access_type: Literal["ELB", "SERVICE_DISCOVERY"] = "ELB"


class QuickSync(LenientModel):
    recreate: bool = False


class EcsApp(ApplicationSpec):
    input: Input = Input()
    quick_sync: QuickSync = QuickSync()


class NoOptions(LenientModel):
    """A stage without options."""


class SyncOptions(LenientModel):
    recreate: bool = False


class CanaryOptions(LenientModel):
    #: Percent of the service's desired count.
    scale: Percentage = 0


class RoutingOptions(LenientModel):
    primary: Percentage = 0
    canary: Percentage = 0

    @property
    def shares(self) -> tuple[int, int]:
        """Percent for primary and canary. `primary` takes precedence over `canary` if both are set."""
        if self.primary:
            return self.primary, 100 - self.primary
        return 100 - self.canary, self.canary
