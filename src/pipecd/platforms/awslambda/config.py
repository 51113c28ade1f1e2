"""Configuration of Lambda: the application file and the platform provider."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import LenientModel, StrictModel, Unused
from pipecd.config.values import InsideApplication, Interval, Percentage
from pipecd.platforms.aws import AwsProvider


class Input(StrictModel):
    function_manifest_file: InsideApplication = "function.yaml"
    """Path of the function manifest, relative to the application's directory."""
    auto_rollback: bool | None = None
    """Roll back when a deployment fails; takes precedence over `planner.autoRollback`."""


class LambdaApp(ApplicationSpec):
    input: Input = Input()
    """What is deployed."""
    quick_sync: LenientModel = LenientModel()
    """Options of a quick sync; there are none."""


class PromoteOptions(LenientModel):
    percent: Percentage = 0
    """Percentage of the traffic for the new version; the running version gets the rest."""


class LambdaProvider(AwsProvider):
    polling_interval: Annotated[Interval, Unused("the agent chooses its polling intervals")] = Field(
        default=timedelta(seconds=15), alias="awsAPIPollingInterval"
    )
    """Not used: the agent chooses its polling intervals. Accepted for compatibility with PipeCD."""
