"""`launcher launcher`: the launcher's command line. Flags are PipeCD's; unknown ones are passed to the agent.

SIGTERM and SIGINT stop the agent and then the launcher; SIGHUP triggers an immediate check for a new
configuration and version.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import click
import structlog
from click.core import ParameterSource

from pipecd.client import Transport
from pipecd.config.flags import (
    LOG_LEVEL_HELP,
    LOG_LEVELS,
    PORT,
    Duration,
    admin_host_option,
    parameter_name,
    switch,
)
from pipecd.config.sources import PIPED_SOURCES, Source, SourceType, choose_source
from pipecd.errors import ConfigError
from pipecd.launcher import run
from pipecd.launcher.git_source import GitLocation, open_git_source
from pipecd.launcher.options import Options, default_home
from pipecd.stop_signals import call_at_stop_signal
from pipecd.telemetry import configure_logging

log = structlog.get_logger()

#: Flags that apply to launcher and agent, and are passed on to the agent.
SHARED_FLAGS = ("--insecure", "--cert-file", "--grace-period", "--log-encoding", "--log-level")
#: Switch → the flag with its value, and the type of source.
_CLOUD_SOURCES = {
    "--config-from-gcp-secret": ("--gcp-secret-id", PIPED_SOURCES["--config-gcp-secret"]),
    "--config-from-aws-secret": ("--aws-secret-id", PIPED_SOURCES["--config-aws-secret"]),
    "--config-from-aws-ssm-parameter-store": (
        "--aws-ssm-parameter",
        PIPED_SOURCES["--config-aws-ssm-parameter"],
    ),
}
_GIT_SWITCH = "--config-from-git-repo"
_LOCAL_SOURCES = {flag: PIPED_SOURCES[flag] for flag in ("--config-file", "--config-data")}


@click.command(
    "launcher",
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "max_content_width": 110,
    },
    epilog="All other flags are passed to the agent: see `piped piped --help`.",
)
@click.option("--config-file", default="", metavar="PATH", help="The agent's configuration file.")
@click.option(
    "--config-data", default="", metavar="BASE64", help="The configuration file's content as base64."
)
@switch("--config-from-gcp-secret", "Read it from Google Cloud Secret Manager.")
@click.option(
    "--gcp-secret-id", default="", metavar="ID", help="Name of the secret: projects/P/secrets/S/versions/V"
)
@switch("--config-from-aws-secret", "Read it from AWS Secrets Manager.")
@click.option("--aws-secret-id", default="", metavar="ARN", help="The secret's ARN or name.")
@switch("--config-from-aws-ssm-parameter-store", "Read it from AWS Systems Manager.")
@click.option("--aws-ssm-parameter", default="", metavar="NAME", help="The parameter's name or ARN.")
@switch("--config-from-git-repo", "Read it from a Git repository.")
@click.option("--git-repo-url", default="", metavar="URL", help="URL of the repository.")
@click.option("--git-branch", default="", metavar="NAME", help="Branch of the repository.")
@click.option(
    "--git-piped-config-file", default="", metavar="PATH", help="Path of the file inside the repository."
)
@click.option("--git-ssh-key-file", default="", metavar="PATH", help="Private SSH key for the repository.")
@click.option("--git-ssh-key-data", default="", metavar="BASE64", help="The private SSH key as base64.")
@switch("--insecure", "Connect to the control plane without TLS.")
@click.option("--cert-file", default="", help="Trust these PEM certificates instead of the system's.")
@click.option(
    "--home-dir",
    default=None,
    type=click.Path(path_type=Path),
    help="Directory of installed versions. Default: ~/.cache/piped-launcher",
)
@click.option(
    "--default-version",
    default="",
    help="Used if the control plane specifies none. Default: that of the launcher.",
)
@click.option(
    "--releases",
    default="",
    metavar="SOURCE",
    help="Source of versions: index, a directory, or an https://, s3:// or gs:// URL.",
)
@click.option(
    "--release-key-file", default="", metavar="PATH", help="Run only releases signed with this key (PEM)."
)
@switch("--allow-downgrade", "Run versions that are older than the last one that ran here.")
@admin_host_option
@click.option(
    "--admin-port",
    type=PORT,
    default=9085,
    show_default=True,
    help="/healthz, /metrics, /version of launcher and agent.",
)
@click.option(
    "--launcher-admin-port",
    type=PORT,
    default=0,
    show_default=True,
    help="A second port with the same endpoints; 0 disables it.",
)
@click.option(
    "--check-interval",
    default=60.0,
    type=Duration(),
    help="Interval of checks for a new configuration or version.",
)
@click.option(
    "--grace-period", default=30.0, type=Duration(), help="How long the agent may take to shut down."
)
@click.option(
    "--log-encoding",
    default="humanize",
    type=click.Choice(["json", "console", "humanize"]),
    show_default=True,
    help="Log format.",
)
@click.option("--log-level", type=LOG_LEVELS, default="info", show_default=True, help=LOG_LEVEL_HELP)
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> None:
    """Run the agent in the version the control plane specifies, with the current configuration."""
    configure_logging(flags["log_encoding"], flags["log_level"])
    options = Options(
        transport=Transport(insecure=flags["insecure"], cert_file=flags["cert_file"]),
        home=flags["home_dir"] or default_home(),
        default_version=flags["default_version"],
        releases=flags["releases"],
        release_key_file=flags["release_key_file"],
        allow_downgrade=flags["allow_downgrade"],
        admin_host=flags["admin_host"],
        admin_port=flags["admin_port"],
        launcher_admin_port=flags["launcher_admin_port"],
        check_interval=flags["check_interval"],
        grace_period=flags["grace_period"],
        forwarded=[*_shared_flags(context), *context.args],
    )
    with suppress(asyncio.CancelledError):
        asyncio.run(_until_signal(flags, options))


async def _until_signal(flags: dict[str, Any], options: Options) -> None:
    """Run until SIGTERM or SIGINT. Raises CancelledError once agent and launcher have shut down."""
    launcher = asyncio.current_task()
    assert launcher is not None

    def stop(name: str) -> None:
        log.info("shutting_down", signal=name, grace_period=options.grace_period)
        launcher.cancel()

    call_at_stop_signal(stop)
    async with _open_source(flags, options.home) as source:
        await run(source, options)


@asynccontextmanager
async def _open_source(flags: dict[str, Any], home: Path) -> AsyncIterator[Source]:
    """The configuration source specified by the flags. Raises ConfigError unless it is exactly one."""
    given = {flag: flags[parameter_name(flag)] for flag in _LOCAL_SOURCES}
    source_types: dict[str, SourceType] = dict(_LOCAL_SOURCES)
    for flag, (value_flag, source_type) in _CLOUD_SOURCES.items():
        source_types[flag] = source_type
        enabled, value = flags[parameter_name(flag)], flags[parameter_name(value_flag)]
        if enabled and not value:
            raise ConfigError(
                f"{flag} requires {value_flag}", remedy=f"add {value_flag}={source_type.metavar}"
            )
        given[flag] = value if enabled else ""
    if not flags[parameter_name(_GIT_SWITCH)]:
        yield choose_source(given, {**source_types, _GIT_SWITCH: source_types["--config-file"]})
        return
    others = [flag for flag, value in given.items() if value]
    if others:
        raise ConfigError(f"{_GIT_SWITCH} and {others[0]} are both given", remedy="give exactly one of them")
    location = GitLocation(
        url=flags["git_repo_url"],
        branch=flags["git_branch"],
        file=flags["git_piped_config_file"],
        ssh_key_file=flags["git_ssh_key_file"],
        ssh_key_data=flags["git_ssh_key_data"],
    )
    async with open_git_source(location, home) as source:
        yield source


def _shared_flags(context: click.Context) -> Sequence[str]:
    """The shared flags given on the command line, in the form both programs accept."""
    forwarded = []
    for flag in SHARED_FLAGS:
        if context.get_parameter_source(parameter_name(flag)) is ParameterSource.COMMANDLINE:
            value = context.params[parameter_name(flag)]
            text = (
                f"{value:g}s"
                if isinstance(value, float)
                else str(value).lower()
                if value in (True, False)
                else value
            )
            forwarded.append(f"{flag}={text}")
    return forwarded
