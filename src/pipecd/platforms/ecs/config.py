"""What may stand in an ECS application's file and in its platform provider."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import OpenPart, Part
from pipecd.config.values import InsideApplication, Percentage


class TargetGroup(Part):
    target_group_arn: str = Field(min_length=1)
    container_name: str = ""
    container_port: int = 0
    load_balancer_name: str = ""


class TargetGroups(Part):
    primary: TargetGroup | None = None
    canary: TargetGroup | None = None

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.primary and self.canary and self.primary.target_group_arn == self.canary.target_group_arn:
            raise ValueError("primary and canary must be two target groups")
        return self


class AwsVpcConfiguration(Part):
    subnets: Sequence[str] = Field(default=(), max_length=16)
    assign_public_ip: Literal["", "ENABLED", "DISABLED"] = ""
    security_groups: Sequence[str] = Field(default=(), max_length=5)


class Input(Part):
    """Without `serviceDefinitionFile` it is a standalone task; `clusterArn` and so on say where it runs."""

    cluster_arn: str = ""
    launch_type: Literal["FARGATE", "EC2"] = "FARGATE"
    awsvpc_configuration: AwsVpcConfiguration = AwsVpcConfiguration()
    service_definition_file: InsideApplication = ""
    task_definition_file: InsideApplication = "taskdef.json"
    target_groups: TargetGroups = TargetGroups()
    auto_rollback: bool | None = None
    run_standalone_task: bool = True
    access_type: Literal["ELB", "SERVICE_DISCOVERY"] = "ELB"


class QuickSync(OpenPart):
    recreate: bool = False


class EcsApp(ApplicationSpec):
    input: Input = Input()
    quick_sync: QuickSync = QuickSync()


class NoOptions(OpenPart):
    """A stage without options."""


class SyncOptions(OpenPart):
    recreate: bool = False


class CanaryOptions(OpenPart):
    #: Percent of the service's desired count.
    scale: Percentage = 0


class RoutingOptions(OpenPart):
    primary: Percentage = 0
    canary: Percentage = 0

    @property
    def shares(self) -> tuple[int, int]:
        """Percent for primary and canary: `primary` counts where it is written, then `canary`."""
        if self.primary:
            return self.primary, 100 - self.primary
        return 100 - self.canary, self.canary
