"""Parsing of flag values, and their completion by a shell: labels, lists, statuses, kinds."""

from collections.abc import Callable, Iterable, Mapping

import click
from click.shell_completion import CompletionItem

from pipecd.model.application import is_kind
from pipecd.schema.model.deployment_pb2 import DeploymentStatus
from pipecd.schema.model.kind_pb2 import ApplicationKind

_PREFIX = "DEPLOYMENT_"
#: Statuses of a deployment that has ended.
FINAL_STATUSES = (
    DeploymentStatus.DEPLOYMENT_SUCCESS,
    DeploymentStatus.DEPLOYMENT_FAILURE,
    DeploymentStatus.DEPLOYMENT_CANCELLED,
)


def parse_pairs(texts: Iterable[str], separator: str, flag: str) -> Mapping[str, str]:
    """Parse `a=1,b=2`, also spread over repeated flags, into a mapping. Raises click's UsageError."""
    mapping = {}
    for item in parse_list(texts):
        key, found_separator, value = (part.strip() for part in item.partition(separator))
        if not found_separator or not key:
            raise click.UsageError(f"{flag}: {item!r} must have the form key{separator}value")
        mapping[key] = value
    return mapping


def parse_list(texts: Iterable[str]) -> list[str]:
    """Parse `a,b`, also spread over repeated flags, into a list."""
    return [item.strip() for text in texts for item in text.split(",") if item.strip()]


def parse_kinds(texts: Iterable[str], flag: str) -> list[str]:
    """Parse names of kinds. Any platform that an agent has is a kind. Raises click's UsageError."""
    kinds = [item.upper() for item in parse_list(texts)]
    for kind in kinds:
        if not is_kind(kind):
            raise click.UsageError(f"{flag}: {kind!r} is not the name of a kind, such as TERRAFORM")
    return kinds


def parse_kind(text: str, flag: str) -> str:
    """Parse the name of one kind. Raises click's UsageError."""
    kinds = parse_kinds([text], flag)
    if len(kinds) != 1:
        raise click.UsageError(f"{flag}: {text!r} is not one kind")
    return kinds[0]


def parse_statuses(texts: Iterable[str], flag: str) -> list[DeploymentStatus.ValueType]:
    """Parse status names, with or without the prefix DEPLOYMENT_. Raises click's UsageError."""
    statuses = []
    for item in parse_list(texts):
        name = item.upper() if item.upper().startswith(_PREFIX) else f"{_PREFIX}{item.upper()}"
        if name not in list(DeploymentStatus.keys()):
            known = ", ".join(key.removeprefix(_PREFIX) for key in DeploymentStatus.keys())  # noqa: SIM118
            raise click.UsageError(f"{flag}: {item} is not a deployment status; use one of {known}")
        statuses.append(DeploymentStatus.Value(name))
    return statuses


def status_name(status: DeploymentStatus.ValueType) -> str:
    return DeploymentStatus.Name(status).removeprefix(_PREFIX)


def _complete_list(
    values: Iterable[str],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Complete the last item of a list that is written `a,b`."""
    known = list(values)

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{value}") for value in known if value.startswith(last.upper())
        ]

    return complete


complete_statuses = _complete_list(key.removeprefix(_PREFIX) for key in DeploymentStatus.keys())  # noqa: SIM118
complete_kinds = _complete_list(ApplicationKind.keys())
#: The option `--app-kind` of lists, which the command receives as `kinds`; see `parse_kinds`.
kinds_option = click.option(
    "--app-kind",
    "kinds",
    multiple=True,
    shell_complete=complete_kinds,
    help="Only applications of these kinds, such as TERRAFORM,ECS.",
)
