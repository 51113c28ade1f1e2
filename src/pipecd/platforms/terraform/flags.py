"""Which of the configured flags go to which command.

A plan that was saved holds its variables, targets and so on; Terraform does not take them a second time
when that plan is applied. So flags that shape a plan go to `plan`, wherever they are written, and only there.
"""

from collections.abc import Sequence

from pipecd.platforms.terraform.config import CommandFlags

_WITH_VALUE = frozenset(
    {"-var", "-var-file", "-target", "-target-file", "-replace", "-exclude", "-exclude-file"}
)
_SHAPING = _WITH_VALUE | {"-refresh", "-refresh-only", "-destroy", "-allow-deferral"}
#: What `apply` may be told and needs no telling, because it is given a plan.
_NEEDLESS = frozenset({"-auto-approve", "-input"})


def for_init(flags: CommandFlags) -> Sequence[str]:
    return [*flags.shared, *flags.init]


def for_plan(flags: CommandFlags) -> Sequence[str]:
    shaping, _ = split(flags.apply)
    return [*flags.shared, *flags.plan, *shaping]


def for_apply(flags: CommandFlags) -> Sequence[str]:
    """For applying a saved plan."""
    _, others = split([*flags.shared, *flags.apply])
    return [flag for flag in others if _name(flag) not in _NEEDLESS]


def state_file(flags: CommandFlags) -> str:
    """Where `-state` puts the state of the `local` backend; empty where the backend itself says it."""
    given = [flag for flag in (*flags.shared, *flags.plan, *flags.apply) if _name(flag) == "-state"]
    return given[-1].partition("=")[2] if given else ""


def split(flags: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Those that shape a plan, each with its value, and the others."""
    shaping: list[str] = []
    others: list[str] = []
    value_follows = False
    for flag in flags:
        if value_follows or _name(flag) in _SHAPING:
            shaping.append(flag)
            value_follows = not value_follows and _name(flag) in _WITH_VALUE and "=" not in flag
        else:
            others.append(flag)
    return shaping, others


def hidden(arguments: Sequence[str]) -> str:
    """The command line as it may be shown: values of variables may be secrets."""
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
