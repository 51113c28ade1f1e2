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
    paths: Sequence[PathGlob] = ()


class WaitOptions(LenientModel):
    duration: Duration = timedelta()
    skip_on: SkipOn = SkipOn()


class WaitApprovalOptions(LenientModel):
    timeout: Duration = SIX_HOURS
    approvers: Sequence[str] = ()
    min_approver_num: int = Field(1, ge=1)
    skip_on: SkipOn = SkipOn()

    @model_validator(mode="after")
    def _enough_approvers(self) -> Self:
        named = len(set(self.approvers))
        if named and named < self.min_approver_num:
            raise ValueError(f"minApproverNum is {self.min_approver_num}, but approvers names only {named}")
        return self


class ScriptRunOptions(LenientModel):
    run: str = Field(min_length=1)
    env: Mapping[str, Text] = Field(default_factory=dict)
    timeout: Duration = SIX_HOURS
    on_rollback: str = ""
    skip_on: SkipOn = SkipOn()


class CustomSyncOptions(LenientModel):
    run: str = Field(min_length=1)
    envs: Mapping[str, Text] = Field(default_factory=dict)
    timeout: Duration = SIX_HOURS
    skip_on: SkipOn = SkipOn()


class Expected(StrictModel):
    min: float | None = None
    max: float | None = None


class TemplateReference(StrictModel):
    name: str = Field(min_length=1)
    app_args: Mapping[str, Text] = Field(default_factory=dict)


class AnalysisMetrics(StrictModel):
    """The fields override those of `template`, which may supply required ones such as `interval`."""

    template: TemplateReference | None = None
    strategy: Literal["THRESHOLD", "PREVIOUS", "CANARY_BASELINE", "CANARY_PRIMARY"] = "THRESHOLD"
    provider: str = ""
    query: str = ""
    expected: Expected = Expected()
    interval: Duration = timedelta()
    failure_limit: int = Field(0, ge=0)
    skip_on_no_data: bool = False
    timeout: Duration = timedelta(seconds=30)
    deviation: Literal["EITHER", "HIGH", "LOW"] = "EITHER"
    canary_args: Mapping[str, Text] = Field(default_factory=dict)
    baseline_args: Mapping[str, Text] = Field(default_factory=dict)
    primary_args: Mapping[str, Text] = Field(default_factory=dict)

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
    provider: str = ""
    query: str = ""
    interval: Duration = timedelta()
    failure_limit: int = Field(0, ge=0)
    skip_on_no_data: bool = False
    timeout: Duration = timedelta(seconds=30)


class HttpHeader(StrictModel):
    key: str
    value: Text


class AnalysisHttp(StrictModel):
    template: TemplateReference | None = None
    url: str = ""
    method: str = ""
    headers: Sequence[HttpHeader] = ()
    expected_code: int = 0
    expected_response: str = ""
    interval: Duration = timedelta()
    failure_limit: int = Field(0, ge=0)
    skip_on_no_data: bool = False
    timeout: Duration = timedelta(seconds=30)


class AnalysisOptions(LenientModel):
    duration: Duration
    restart_threshold: int = 0
    metrics: Sequence[AnalysisMetrics] = ()
    logs: Sequence[AnalysisLog] = ()
    https: Sequence[AnalysisHttp] = ()
    skip_on: SkipOn = SkipOn()

    @model_validator(mode="after")
    def _has_duration(self) -> Self:
        if not self.duration:
            raise ValueError("duration is missing: specify how long to analyse")
        return self


#: Stages available to all kinds of applications.
GENERIC: Mapping[str, type[LenientModel]] = {
    "WAIT": WaitOptions,
    "WAIT_APPROVAL": WaitApprovalOptions,
    "ANALYSIS": AnalysisOptions,
    "SCRIPT_RUN": ScriptRunOptions,
    "CUSTOM_SYNC": CustomSyncOptions,
}
#: Stages added by the planner; they are not allowed in a pipeline.
PREDEFINED = frozenset({"ROLLBACK", "CUSTOM_SYNC_ROLLBACK", "SCRIPT_RUN_ROLLBACK", "K8S_SYNC"})
