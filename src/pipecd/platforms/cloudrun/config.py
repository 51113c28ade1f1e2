"""Configuration of Cloud Run: the application file, the stage options and the platform provider."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import Base64, HttpUrl, InsideApplication, Percentage


class Input(StrictModel):
    """A service, or a job with `jobManifestFile`."""

    service_manifest_file: InsideApplication = "service.yaml"
    """Path of the service's manifest, relative to the application's directory."""
    job_manifest_file: InsideApplication = ""
    """Path of a job's manifest, relative to the application's directory. The application is then a job."""
    keep_revisions: int | None = Field(default=None, ge=0, le=1000)
    """How many revisions without traffic and tags stay after a deployment, for a manual rollback. Older ones
    that the agent created are deleted. Default: all stay.
    """
    auto_rollback: bool | None = None
    """Roll back when a deployment fails; takes precedence over `planner.autoRollback`."""

    @model_validator(mode="after")
    def _one_manifest(self) -> Self:
        if self.job_manifest_file and "service_manifest_file" in self.model_fields_set:
            raise ValueError("set serviceManifestFile or jobManifestFile, not both")
        return self


class JobOptions(LenientModel):
    run: bool = False
    """Run the job after it was updated."""
    wait: bool = True
    """Wait until the execution has ended; it decides whether the stage succeeds. Used with `run`."""


class CloudRunApp(ApplicationSpec):
    input: Input = Input()
    """What is deployed."""
    quick_sync: JobOptions = JobOptions()
    """Options of a quick sync of a job; a service has none."""


class PromoteOptions(LenientModel):
    percent: Percentage = 0
    """Percentage of the traffic for the new revision; the revisions before get the rest, in their
    proportions.
    """


class CloudRunProvider(BaseModel):
    """`config` of a platform provider of type CLOUDRUN."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    project: str = Field(min_length=1, max_length=100, pattern=r"^[a-z0-9.:-]+$")
    """Id or number of the Google Cloud project."""
    region: str = Field(min_length=1, max_length=60, pattern=r"^[a-z0-9-]+$")
    """Region, such as `europe-west1`."""
    credentials_file: str = Field(default="", alias="credentialsFile")
    """Path of a service account's key, or of the configuration of a workload identity federation. Default:
    Google's application default credentials.
    """
    credentials_data: Base64 = Field(default="", alias="credentialsData", repr=False)
    """The content of such a file, encoded with base64, for an agent that has no files of its own, such as one
    on App Runner or Fargate.
    """
    endpoint: HttpUrl = ""
    """Address of the Cloud Run API. Default: `https://<region>-run.googleapis.com`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.credentials_file and self.credentials_data:
            raise ValueError("set credentialsFile or credentialsData, not both")
        return self

    @property
    def address(self) -> str:
        return (self.endpoint or f"https://{self.region}-run.googleapis.com").rstrip("/")
