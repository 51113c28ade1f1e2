"""What may stand in a Lambda application's file and in its platform provider."""

from datetime import timedelta

from pydantic import Field

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import OpenPart, Part
from pipecd.config.values import Duration, InsideApplication, Percentage
from pipecd.platforms.aws import AwsProvider


class Input(Part):
    function_manifest_file: InsideApplication = "function.yaml"
    auto_rollback: bool | None = None


class LambdaApp(ApplicationSpec):
    input: Input = Input()
    quick_sync: OpenPart = OpenPart()


class NoOptions(OpenPart):
    """A stage without options."""


class PromoteOptions(OpenPart):
    percent: Percentage = 0


class LambdaProvider(AwsProvider):
    polling_interval: Duration = Field(timedelta(seconds=15), alias="awsAPIPollingInterval")
