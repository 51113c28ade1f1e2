"""Assigns the configured flags to commands.

A saved plan contains its variables, targets and so on, and Terraform rejects them when that plan is applied.
So flags that affect the plan go only to `plan`, wherever they are configured.
"""

from collections.abc import Sequence

from pipecd.platforms.terraform.config import CommandFlags

_WITH_VALUE = frozenset(
    {"-var", "-var-file", "-target", "-target-file", "-replace", "-exclude", "-exclude-file"}
)
_PLAN_FLAGS = _WITH_VALUE | {"-refresh", "-refresh-only", "-destroy", "-allow-deferral"}
#: Flags of `apply` that have no effect with a saved plan.
_REDUNDANT = frozenset({"-auto-approve", "-input"})


def for_init(flags: CommandFlags) -> Sequence[str]:
    return [*flags.shared, *flags.init]


def for_plan(flags: CommandFlags) -> Sequence[str]:
    plan_flags, _ = split(flags.apply)
    return [*flags.shared, *flags.plan, *plan_flags]


def for_apply(flags: CommandFlags) -> Sequence[str]:
    """The flags for applying a saved plan."""
    _, others = split([*flags.shared, *flags.apply])
    return [flag for flag in others if _name(flag) not in _REDUNDANT]


def state_file(flags: CommandFlags) -> str:
    """The state file of the `local` backend set by `-state`; empty if the backend configures it."""
    values = [flag for flag in (*flags.shared, *flags.plan, *flags.apply) if _name(flag) == "-state"]
    return values[-1].partition("=")[2] if values else ""


def split(flags: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The flags that affect the plan, each with its value, and the others."""
    plan_flags: list[str] = []
    others: list[str] = []
    value_follows = False
    for flag in flags:
        if value_follows or _name(flag) in _PLAN_FLAGS:
            plan_flags.append(flag)
            value_follows = not value_follows and _name(flag) in _WITH_VALUE and "=" not in flag
        else:
            others.append(flag)
    return plan_flags, others


def redact_arguments(arguments: Sequence[str]) -> str:
    """The command line for the log, without values of variables, which may be secrets."""
    shown: list[str] = []
    for argument in arguments:
        if shown and shown[-1] in ("-var", "--var"):
            argument = f"{argument.partition('=')[0]}=…"
        elif _name(argument) == "-var" and "=" in argument:
            argument = f"-var={argument.partition('=')[2].partition('=')[0]}=…"
        elif _name(argument) == "-backend-config" and argument.count("=") > 1:
            argument = f"-backend-config={argument.split('=')[1]}=…"
        shown.append(argument)
    return " ".join(shown)


def _name(flag: str) -> str:
    return "-" + flag.lstrip("-").partition("=")[0] if flag.startswith("-") else flag
