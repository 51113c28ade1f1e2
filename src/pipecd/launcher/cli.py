"""`launcher launcher`: the launcher's command line. Flags are PipeCD's; what it does not know is the agent's.

SIGTERM and SIGINT end the agent and then the launcher; SIGHUP looks for a new configuration and version now.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import click
import structlog
from click.core import ParameterSource

from pipecd.client import Transport
from pipecd.config.flags import Duration, attribute, switch
from pipecd.config.sources import PIPED_SOURCES, Kind, Source, chosen
from pipecd.errors import ConfigError
from pipecd.launcher import run
from pipecd.launcher.git_source import Place, repository
from pipecd.launcher.options import Options, default_home
from pipecd.telemetry import configure_logging

log = structlog.get_logger()

#: Flags that say something to both, and are handed on as they were given.
SHARED = ("--insecure", "--cert-file", "--grace-period", "--log-encoding", "--log-level")
#: A switch, the flag with its value, and what reads it.
_CLOUDS = {
    "--config-from-gcp-secret": ("--gcp-secret-id", PIPED_SOURCES["--config-gcp-secret"]),
    "--config-from-aws-secret": ("--aws-secret-id", PIPED_SOURCES["--config-aws-secret"]),
    "--config-from-aws-ssm-parameter-store": (
        "--aws-ssm-parameter",
        PIPED_SOURCES["--config-aws-ssm-parameter"],
    ),
}
_GIT = "--config-from-git-repo"
_PLAIN = {flag: PIPED_SOURCES[flag] for flag in ("--config-file", "--config-data")}


@click.command(
    "launcher",
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "max_content_width": 110,
    },
    epilog="Every other flag is handed on to the agent: see `piped piped --help`.",
)
@click.option("--config-file", default="", metavar="PATH", help="The agent's configuration file.")
@click.option("--config-data", default="", metavar="BASE64", help="The configuration itself, as base64.")
@switch("--config-from-gcp-secret", "Read it from Google Cloud's Secret Manager.")
@click.option("--gcp-secret-id", default="", metavar="ID", help="projects/P/secrets/S/versions/V")
@switch("--config-from-aws-secret", "Read it from AWS Secrets Manager.")
@click.option("--aws-secret-id", default="", metavar="ARN", help="The secret's ARN or name.")
@switch("--config-from-aws-ssm-parameter-store", "Read it from AWS Systems Manager.")
@click.option("--aws-ssm-parameter", default="", metavar="NAME", help="The parameter's name or ARN.")
@switch("--config-from-git-repo", "Read it from a Git repository.")
@click.option("--git-repo-url", default="", metavar="URL")
@click.option("--git-branch", default="", metavar="NAME")
@click.option("--git-piped-config-file", default="", metavar="PATH", help="Inside the repository.")
@click.option("--git-ssh-key-file", default="", metavar="PATH")
@click.option("--git-ssh-key-data", default="", metavar="BASE64")
@switch("--insecure", "Speak plaintext with the control plane.")
@click.option("--cert-file", default="", help="Trust these PEM certificates instead of the system's.")
@click.option(
    "--home-dir", default=None, type=click.Path(path_type=Path), help="Default: ~/.cache/piped-launcher"
)
@click.option("--default-version", default="", help="Runs when the control plane asks for none. Default: own")
@click.option(
    "--releases",
    default="",
    metavar="PLACE",
    help="Where versions come from: index, a folder, or an https://, s3:// or gs:// URL.",
)
@click.option(
    "--release-key-file", default="", metavar="PATH", help="Only releases signed with this key (PEM) run."
)
@click.option("--admin-host", default="", metavar="ADDRESS", help="Where the admin port listens.")
@click.option(
    "--admin-port",
    default=9085,
    show_default=True,
    help="/healthz, /metrics, /version of launcher and agent.",
)
@click.option(
    "--launcher-admin-port", default=0, show_default=True, help="The same on another port; 0 is none."
)
@click.option("--check-interval", default=60.0, type=Duration(), help="Between looks for something new.")
@click.option("--grace-period", default=30.0, type=Duration(), help="How long the end may take.")
@click.option(
    "--log-encoding",
    default="humanize",
    type=click.Choice(["json", "console", "humanize"]),
    show_default=True,
)
@click.option("--log-level", default="info", show_default=True)
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> None:
    """Run the agent in the version that the control plane asks for, with the newest configuration."""
    configure_logging(flags["log_encoding"], flags["log_level"])
    options = Options(
        transport=Transport(insecure=flags["insecure"], cert_file=flags["cert_file"]),
        home=flags["home_dir"] or default_home(),
        default_version=flags["default_version"],
        releases=flags["releases"],
        release_key_file=flags["release_key_file"],
        admin_host=flags["admin_host"],
        admin_port=flags["admin_port"],
        launcher_admin_port=flags["launcher_admin_port"],
        check_interval=flags["check_interval"],
        grace_period=flags["grace_period"],
        forwarded=[*_shared(context), *context.args],
    )
    with suppress(asyncio.CancelledError):
        asyncio.run(_until_signal(flags, options))


async def _until_signal(flags: dict[str, Any], options: Options) -> None:
    """Raises CancelledError once agent and launcher have shut down for a signal."""
    loop, launcher = asyncio.get_running_loop(), asyncio.current_task()
    assert launcher is not None

    def stop(name: str) -> None:
        log.info("shutting down", signal=name, grace_period=options.grace_period)
        launcher.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    async with _source(flags, options.home) as source:
        await run(source, options)


@asynccontextmanager
async def _source(flags: dict[str, Any], home: Path) -> AsyncIterator[Source]:
    """The one that the flags choose. Raises ConfigError for none or several."""
    given = {flag: flags[attribute(flag)] for flag in _PLAIN}
    kinds: dict[str, Kind] = dict(_PLAIN)
    for flag, (value_flag, kind) in _CLOUDS.items():
        kinds[flag] = kind
        on, value = flags[attribute(flag)], flags[attribute(value_flag)]
        if on and not value:
            raise ConfigError(f"{flag} lacks {value_flag}", remedy=f"add {value_flag}={kind.metavar}")
        given[flag] = value if on else ""
    if not flags[attribute(_GIT)]:
        yield chosen(given, {**kinds, _GIT: kinds["--config-file"]})
        return
    others = [flag for flag, value in given.items() if value]
    if others:
        raise ConfigError(f"{_GIT} and {others[0]} are both given", remedy="give exactly one of them")
    place = Place(
        url=flags["git_repo_url"],
        branch=flags["git_branch"],
        file=flags["git_piped_config_file"],
        ssh_key_file=flags["git_ssh_key_file"],
        ssh_key_data=flags["git_ssh_key_data"],
    )
    async with repository(place, home) as source:
        yield source


def _shared(context: click.Context) -> Sequence[str]:
    """The shared flags that the command line gives, in the form that both understand."""
    told = []
    for flag in SHARED:
        if context.get_parameter_source(attribute(flag)) is ParameterSource.COMMANDLINE:
            value = context.params[attribute(flag)]
            text = (
                f"{value:g}s"
                if isinstance(value, float)
                else str(value).lower()
                if value in (True, False)
                else value
            )
            told.append(f"{flag}={text}")
    return told
