"""The root of `pipectl` and its groups. Nothing heavy is imported for `--help`."""

from collections.abc import Mapping

import click

from pipecd import __version__
from pipecd.lazy_group import LazyGroup


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"Version: {__version__}")


def _group(name: str, help: str, places: Mapping[str, tuple[str, str]]) -> LazyGroup:
    return LazyGroup(name=name, help=help, places=places)


application = _group(
    "application",
    "Add, list, sync and change applications.",
    {
        "add": ("pipecd.pipectl.applications:add", "Register an application."),
        "get": ("pipecd.pipectl.applications:get", "Show one application."),
        "list": ("pipecd.pipectl.applications:list_command", "List applications."),
        "sync": ("pipecd.pipectl.applications:sync", "Deploy an application's head commit."),
        "enable": ("pipecd.pipectl.applications:enable", "Let the agent deploy an application."),
        "disable": ("pipecd.pipectl.applications:disable", "Keep the agent from deploying an application."),
        "delete": ("pipecd.pipectl.applications:delete", "Remove an application; what it deployed stays."),
    },
)
deployment = _group(
    "deployment",
    "Look at deployments, or wait for one.",
    {
        "list": ("pipecd.pipectl.deployments:list_command", "List deployments, newest first."),
        "get": ("pipecd.pipectl.deployments:get", "Show one deployment and its stages."),
        "logs": ("pipecd.pipectl.logs:logs", "Print the logs of a deployment's stages."),
        "wait-status": (
            "pipecd.pipectl.deployments:wait_status",
            "Wait until a deployment has one of some statuses.",
        ),
    },
)
piped = _group(
    "piped",
    "List agents, enable and disable them.",
    {
        "list": ("pipecd.pipectl.pipeds:list_command", "List the project's agents."),
        "enable": ("pipecd.pipectl.pipeds:enable", "Let an agent work."),
        "disable": ("pipecd.pipectl.pipeds:disable", "Keep an agent from working, at once."),
    },
)
event = _group(
    "event",
    "Tell of events.",
    {"register": ("pipecd.pipectl.events:register", "Register an event, such as a new image.")},
)


@click.group(
    cls=LazyGroup,
    name="pipectl",
    places={
        "application": ("pipecd.pipectl.root:application", "Add, list, sync and change applications."),
        "deployment": ("pipecd.pipectl.root:deployment", "Look at deployments, or wait for one."),
        "piped": ("pipecd.pipectl.root:piped", "List agents, enable and disable them."),
        "event": ("pipecd.pipectl.root:event", "Tell of events."),
        "encrypt": ("pipecd.pipectl.secrets:encrypt", "Seal a secret for one agent."),
        "plan-preview": ("pipecd.pipectl.previews:plan_preview", "Show what a pull request would change."),
        "version": ("pipecd.pipectl.root:version", "Print the version."),
    },
)
def command() -> None:
    """The command line of PipeCD, for people and CI.

    Exit codes: 0 done; 1 it could not be done, with the reason on standard error; 2 wrong usage;
    130 interrupted.
    """
