"""What may stand in a Terraform application's file and in its platform provider."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import OpenPart, Part
from pipecd.config.values import Text

#: Flags that would take from the agent what it has to know: where it runs, and which plan is which.
_OURS = ("-chdir", "-out", "-json", "-input", "-detailed-exitcode", "-auto-approve")


def _plain(value: str) -> str:
    """What a program can be given."""
    if "\0" in value:
        raise ValueError("holds a zero byte")
    return value


def _workspace(value: str) -> str:
    if value.startswith("-") or "/" in value:
        raise ValueError(f"{value!r} is not the name of a workspace")
    return value


def _pair(value: str) -> str:
    key, equals, _ = value.partition("=")
    if not equals or not key.strip():
        # Not the value: it may be a secret.
        raise ValueError("must be written as name=value")
    return value


def _flag(value: str) -> str:
    name = "-" + value.lstrip("-").partition("=")[0]
    if value.startswith("-") and name in _OURS and value not in ("-auto-approve", "-input=false"):
        raise ValueError(f"{name} is set by the agent itself; take it out")
    return value


Plain = Annotated[Text, AfterValidator(_plain)]
Pair = Annotated[Plain, AfterValidator(_pair)]
Flag = Annotated[Plain, AfterValidator(_flag)]
Workspace = Annotated[Plain, AfterValidator(_workspace)]


class CommandFlags(Part):
    """More flags, for every command and for one. They come last, so they win."""

    shared: Sequence[Flag] = ()
    init: Sequence[Flag] = ()
    plan: Sequence[Flag] = ()
    apply: Sequence[Flag] = ()


class CommandEnvs(Part):
    """More environment, as `NAME=value`."""

    shared: Sequence[Pair] = ()
    init: Sequence[Pair] = ()
    plan: Sequence[Pair] = ()
    apply: Sequence[Pair] = ()


class Input(Part):
    workspace: Workspace = ""
    terraform_version: Plain = ""
    vars: Sequence[Pair] = ()
    var_files: Sequence[Plain] = ()
    auto_rollback: bool | None = None
    command_flags: CommandFlags = CommandFlags()
    command_envs: CommandEnvs = CommandEnvs()


class TerraformApp(ApplicationSpec):
    input: Input = Input()
    quick_sync: OpenPart = OpenPart()


class NoOptions(OpenPart):
    """A stage without options."""


class PlanOptions(OpenPart):
    exit_on_no_changes: bool = False


class Provider(OpenPart):
    """`binary` is ours: a program's name or path, or `embedded` for the Terraform inside this package."""

    vars: Sequence[Pair] = ()
    drift_detection_enabled: bool = True
    binary: Plain = ""
