"""Configuration of Lambda: the application file and the platform provider."""

from datetime import timedelta

from pydantic import Field

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import Duration, InsideApplication, Percentage
from pipecd.platforms.aws import AwsProvider


class Input(StrictModel):
    function_manifest_file: InsideApplication = "function.yaml"
    auto_rollback: bool | None = None


class LambdaApp(ApplicationSpec):
    input: Input = Input()
    quick_sync: LenientModel = LenientModel()


class NoOptions(LenientModel):
    """A stage without options."""


class PromoteOptions(LenientModel):
    percent: Percentage = 0


class LambdaProvider(AwsProvider):
    polling_interval: Duration = Field(timedelta(seconds=15), alias="awsAPIPollingInterval")
