"""The options (`with`) of the stages that need no platform."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import MAX_PATH_PATTERNS, Duration, PathGlob, Text

SIX_HOURS = timedelta(hours=6)


def _variables(values: Mapping[str, str]) -> Mapping[str, str]:
    for name in values:
        if not name or "=" in name:
            raise ValueError(f"{name!r} is not the name of an environment variable")
    return values


Variables = Annotated[Mapping[str, Text], AfterValidator(_variables)]


class SkipOn(StrictModel):
    """Skip the stage if the commit message has one of the prefixes, or only matching paths changed."""

    commit_message_prefixes: Sequence[str] = ()
    """Skip the stage if the commit message starts with one of these."""
    paths: Sequence[PathGlob] = Field(default=(), max_length=MAX_PATH_PATTERNS)
    """Skip the stage if every changed file matches one of these path patterns."""


class NoOptions(LenientModel):
    """A stage without options."""


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
    min_approver_num: int = Field(default=1, ge=1)
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
    env: Variables = Field(default_factory=dict)
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
    envs: Variables = Field(default_factory=dict)
    """Additional environment variables."""
    timeout: Duration = SIX_HOURS
    """Maximum duration of the stage."""
    skip_on: SkipOn = SkipOn()
    """When the stage is skipped."""


#: PipeCD's plugins that consist of stages. Every other plugin in a file is a platform.
_STAGE_PLUGINS = frozenset({"analysis", "scriptrun", "wait", "waitapproval"})


def is_stage_plugin(name: str) -> bool:
    return name.lower().replace("_", "").replace("-", "") in _STAGE_PLUGINS
