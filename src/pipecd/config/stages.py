"""The options (`with`) of stages that need no platform, and of ANALYSIS."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import Duration, PathGlob, Text

SIX_HOURS = timedelta(hours=6)


class SkipOn(StrictModel):
    """Skip the stage if the commit message has one of the prefixes, or only matching paths changed."""

    commit_message_prefixes: Sequence[str] = ()
    """Skip the stage if the commit message starts with one of these."""
    paths: Sequence[PathGlob] = ()
    """Skip the stage if every changed file matches one of these path patterns."""


class WaitOptions(LenientModel):
    duration: Duration = timedelta()
    """How long to wait."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""


class WaitApprovalOptions(LenientModel):
    timeout: Duration = SIX_HOURS
    """How long to wait for approvals; afterwards the stage fails."""
    approvers: Sequence[str] = ()
    """User names of those who may approve. Empty: everyone who may change deployments."""
    min_approver_num: int = Field(1, ge=1)
    """Number of approvals that are required."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""

    @model_validator(mode="after")
    def _enough_approvers(self) -> Self:
        named = len(set(self.approvers))
        if named and named < self.min_approver_num:
            raise ValueError(f"minApproverNum is {self.min_approver_num}, but approvers names only {named}")
        return self


class ScriptRunOptions(LenientModel):
    run: str = Field(min_length=1)
    """The shell commands."""
    env: Mapping[str, Text] = Field(default_factory=dict)
    """Additional environment variables."""
    timeout: Duration = SIX_HOURS
    """Maximum duration of the stage."""
    on_rollback: str = ""
    """Shell commands that run when the deployment is rolled back after this stage started."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""


class CustomSyncOptions(LenientModel):
    run: str = Field(min_length=1)
    """The shell commands that deploy the application."""
    envs: Mapping[str, Text] = Field(default_factory=dict)
    """Additional environment variables."""
    timeout: Duration = SIX_HOURS
    """Maximum duration of the stage."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""


class Expected(StrictModel):
    min: float | None = None
    """Smallest value that is a success."""
    max: float | None = None
    """Largest value that is a success."""


class TemplateReference(StrictModel):
    name: str = Field(min_length=1)
    """Name of the template in the repository's AnalysisTemplate file."""
    app_args: Mapping[str, Text] = Field(default_factory=dict)
    """Values for the template's arguments."""


class AnalysisMetrics(StrictModel):
    """The fields override those of `template`, which may supply required ones such as `interval`."""

    template: TemplateReference | None = None
    """The template to use; the other keys override it."""
    strategy: Literal["THRESHOLD", "PREVIOUS", "CANARY_BASELINE", "CANARY_PRIMARY"] = "THRESHOLD"
    """What the value is compared with: the expected range, the previous deployment, or another variant."""
    provider: str = ""
    """Name of an analysis provider in the agent's configuration. Required, unless the template has it."""
    query: str = ""
    """The query that returns the value. Required, unless the template has it."""
    expected: Expected = Expected()
    """The range of values that are a success, for `THRESHOLD`; one of the two is required."""
    interval: Duration = timedelta()
    """Time between two queries. Required, unless the template has it."""
    failure_limit: int = Field(0, ge=0)
    """Number of failures that are tolerated; one more fails the stage."""
    skip_on_no_data: bool = False
    """Do not count a query without data as a failure."""
    timeout: Duration = timedelta(seconds=30)
    """Timeout of a query."""
    deviation: Literal["EITHER", "HIGH", "LOW"] = "EITHER"
    """Which deviation from the other values is a failure."""
    canary_args: Mapping[str, Text] = Field(default_factory=dict)
    """Arguments of the query for the canary variant."""
    baseline_args: Mapping[str, Text] = Field(default_factory=dict)
    """Arguments of the query for the baseline variant."""
    primary_args: Mapping[str, Text] = Field(default_factory=dict)
    """Arguments of the query for the primary variant."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.template:
            return self
        for name in ("provider", "query", "interval"):
            if not getattr(self, name):
                raise ValueError(f"{name} is missing")
        if self.strategy == "THRESHOLD" and self.expected.min is None and self.expected.max is None:
            raise ValueError("expected needs min or max: THRESHOLD compares with it")
        return self


class AnalysisLog(StrictModel):
    template: TemplateReference | None = None
    """The template to use; the other keys override it."""
    provider: str = ""
    """Name of an analysis provider in the agent's configuration."""
    query: str = ""
    """The query; it fails if it returns a log entry."""
    interval: Duration = timedelta()
    """Time between two queries."""
    failure_limit: int = Field(0, ge=0)
    """Number of failures that are tolerated; one more fails the stage."""
    skip_on_no_data: bool = False
    """Do not count a query without data as a failure."""
    timeout: Duration = timedelta(seconds=30)
    """Timeout of a query."""


class HttpHeader(StrictModel):
    key: str
    """Name of the header."""
    value: Text
    """Value of the header."""


class AnalysisHttp(StrictModel):
    template: TemplateReference | None = None
    """The template to use; the other keys override it."""
    url: str = ""
    """URL of the request."""
    method: str = ""
    """HTTP method of the request."""
    headers: Sequence[HttpHeader] = ()
    """Headers of the request."""
    expected_code: int = 0
    """HTTP status code of a success."""
    expected_response: str = ""
    """Text that the response of a success contains."""
    interval: Duration = timedelta()
    """Time between two requests."""
    failure_limit: int = Field(0, ge=0)
    """Number of failures that are tolerated; one more fails the stage."""
    skip_on_no_data: bool = False
    """Do not count a request without a response as a failure."""
    timeout: Duration = timedelta(seconds=30)
    """Timeout of a request."""


class AnalysisOptions(LenientModel):
    duration: Duration
    """How long to analyse; greater than 0."""
    restart_threshold: int = 0
    """Not used. Accepted for compatibility with PipeCD."""
    metrics: Sequence[AnalysisMetrics] = ()
    """Queries of metrics."""
    logs: Sequence[AnalysisLog] = ()
    """Queries of logs."""
    https: Sequence[AnalysisHttp] = ()
    """HTTP requests."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""

    @model_validator(mode="after")
    def _has_duration(self) -> Self:
        if not self.duration:
            raise ValueError("duration is missing: specify how long to analyse")
        return self
