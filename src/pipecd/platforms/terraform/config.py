"""What may stand in a Terraform application's file and in its platform provider."""

from collections.abc import Sequence

from pydantic import field_validator

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import OpenPart, Part


def _pair(value: str) -> str:
    key, equals, _ = value.partition("=")
    if not equals or not key:
        raise ValueError(f"{value!r} must be written as name=value")
    return value


class CommandFlags(Part):
    """More flags, for every command and for one. They come last, so they win."""

    shared: Sequence[str] = ()
    init: Sequence[str] = ()
    plan: Sequence[str] = ()
    apply: Sequence[str] = ()


class CommandEnvs(Part):
    """More environment, as `NAME=value`."""

    shared: Sequence[str] = ()
    init: Sequence[str] = ()
    plan: Sequence[str] = ()
    apply: Sequence[str] = ()

    @field_validator("shared", "init", "plan", "apply")
    @classmethod
    def _pairs(cls, value: Sequence[str]) -> Sequence[str]:
        return [_pair(one) for one in value]


class Input(Part):
    workspace: str = ""
    terraform_version: str = ""
    vars: Sequence[str] = ()
    var_files: Sequence[str] = ()
    auto_rollback: bool | None = None
    command_flags: CommandFlags = CommandFlags()
    command_envs: CommandEnvs = CommandEnvs()

    @field_validator("vars")
    @classmethod
    def _pairs(cls, value: Sequence[str]) -> Sequence[str]:
        return [_pair(one) for one in value]


class TerraformApp(ApplicationSpec):
    input: Input = Input()
    quick_sync: OpenPart = OpenPart()


class NoOptions(OpenPart):
    """A stage without options."""


class PlanOptions(OpenPart):
    exit_on_no_changes: bool = False


class Provider(OpenPart):
    """`binary` is ours: a path, or `embedded` for the Terraform inside this package."""

    vars: Sequence[str] = ()
    drift_detection_enabled: bool = True
    binary: str = ""

    @field_validator("vars")
    @classmethod
    def _pairs(cls, value: Sequence[str]) -> Sequence[str]:
        return [_pair(one) for one in value]
