"""Configuration of Terraform: the application file and the platform provider."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import LenientModel, StrictModel
from pipecd.config.values import Text

#: Flags that the agent itself controls, such as the working directory and the plan file.
_RESERVED_FLAGS = ("-chdir", "-out", "-json", "-input", "-detailed-exitcode", "-auto-approve")


def _workspace(value: str) -> str:
    if value.startswith("-") or "/" in value:
        raise ValueError(f"{value!r} is not a workspace name")
    return value


def _pair(value: str) -> str:
    key, equals, _ = value.partition("=")
    if not equals or not key.strip():
        # Without the value, which may be a secret.
        raise ValueError("must have the form name=value")
    return value


def _flag(value: str) -> str:
    name = "-" + value.lstrip("-").partition("=")[0]
    if value.startswith("-") and name in _RESERVED_FLAGS and value not in ("-auto-approve", "-input=false"):
        raise ValueError(f"{name} is set by the agent; remove it")
    return value


Pair = Annotated[Text, AfterValidator(_pair)]
Flag = Annotated[Text, AfterValidator(_flag)]
Workspace = Annotated[Text, AfterValidator(_workspace)]


class CommandFlags(StrictModel):
    """Additional flags for all commands and for one. They come last, so they take precedence."""

    shared: Sequence[Flag] = ()
    """Flags for `init`, `plan` and `apply`."""
    init: Sequence[Flag] = ()
    """Flags for `terraform init`."""
    plan: Sequence[Flag] = ()
    """Flags for `terraform plan`."""
    apply: Sequence[Flag] = ()
    """Flags for `terraform apply`."""


class CommandEnvs(StrictModel):
    """Additional environment variables, as `NAME=value`."""

    shared: Sequence[Pair] = ()
    """Environment variables for `init`, `plan` and `apply`."""
    init: Sequence[Pair] = ()
    """Environment variables for `terraform init`."""
    plan: Sequence[Pair] = ()
    """Environment variables for `terraform plan`."""
    apply: Sequence[Pair] = ()
    """Environment variables for `terraform apply`."""


class Input(StrictModel):
    workspace: Workspace = ""
    """Terraform workspace, which must exist. Empty: `default`."""
    terraform_version: Text = ""
    """Exact version of Terraform or OpenTofu, such as `1.11.4`. Empty: the installed one."""
    vars: Sequence[Pair] = ()
    """Variables as `name=value`; they override those of the platform provider."""
    var_files: Sequence[Text] = ()
    """Paths of variable files, relative to the application's directory."""
    auto_rollback: bool | None = None
    """Roll back when a deployment fails. Takes precedence over `planner.autoRollback`. Default: false."""
    command_flags: CommandFlags = CommandFlags()
    """Additional flags. They come last, so they take precedence."""
    command_envs: CommandEnvs = CommandEnvs()
    """Additional environment variables, as `NAME=value`."""


class TerraformApp(ApplicationSpec):
    input: Input = Input()
    """What is deployed."""
    quick_sync: LenientModel = LenientModel()
    """Options of a quick sync; there are none."""


class PlanOptions(LenientModel):
    exit_on_no_changes: bool = False
    """End the deployment as a success if the plan contains no changes."""


class Provider(LenientModel):
    """`binary` (not in PipeCD) is a program's name or path, or `embedded` for the packaged Terraform."""

    vars: Sequence[Pair] = ()
    """Variables as `name=value`, for all applications of the provider."""
    drift_detection_enabled: bool = True
    """Detect drift by planning periodically."""
    binary: Text = ""
    """Name or path of the program, or `embedded` for the packaged Terraform. Not in PipeCD."""
