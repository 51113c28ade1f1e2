"""`piped piped`: the agent's command line. Accepts PipeCD's flags and warns about those without effect.

Reads the configuration, sets up logging, and runs the agent until a signal. The first signal starts a
shutdown that is bounded by the grace period; the next process continues unfinished work.
"""

import asyncio
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import structlog

from pipecd.client import Transport
from pipecd.config import piped as config
from pipecd.config.document import locating_errors
from pipecd.config.flags import (
    LOG_LEVEL_HELP,
    LOG_LEVELS,
    PORT,
    Duration,
    admin_host_option,
    config_flags,
    config_options,
    switch,
)
from pipecd.config.sources import read
from pipecd.piped import run
from pipecd.piped.default_provider import with_default_provider
from pipecd.piped.notify.configured import check_receivers
from pipecd.piped.options import Options
from pipecd.piped.platform_availability import check_provider_configs, check_provider_types
from pipecd.piped.unsupported_config import log_keys_without_effect
from pipecd.stop_signals import call_at_stop_signal
from pipecd.telemetry import configure_logging

log = structlog.get_logger()

#: Flag → why it has no effect.
_WITHOUT_EFFECT = {
    "app_manifest_cache_count": "manifests are not cached",
    "profile": "profiles are not uploaded",
    "profile_debug_logging": "profiles are not uploaded",
    "profiler_credentials_file": "profiles are not uploaded",
}


@click.command("piped", context_settings={"max_content_width": 110})
@config_options
@switch("--insecure", "Connect to the control plane without TLS.")
@click.option("--cert-file", default="", help="PEM file of trusted CA certificates. Default: the system's.")
@click.option(
    "--admin-port",
    type=PORT,
    default=9085,
    show_default=True,
    help="Port of /healthz, /metrics and /version.",
)
@admin_host_option
@click.option(
    "--home-dir",
    default=None,
    type=click.Path(path_type=Path),
    help="Directory of mirrors and checkouts. Default: ~/.piped",
)
@click.option(
    "--tools-dir",
    default=None,
    type=click.Path(path_type=Path),
    help="Directory of programs such as Terraform. Default: ~/.piped/tools",
)
@click.option("--grace-period", default=30.0, type=Duration(), help="Maximum duration of a shutdown.")
@click.option("--launcher-version", default="", help="Version of the launcher, which sets this option.")
@switch("--add-login-user-to-passwd", "Add this process's user to /etc/passwd, for SSH on OpenShift.")
@switch(
    "--enable-default-kubernetes-cloud-provider",
    "Add the platform provider kubernetes-default: the cluster of the agent. Default: if it runs in one.",
    default=None,
)
@click.option("--app-manifest-cache-count", default=None, type=int, hidden=True)
@click.option(
    "--log-encoding",
    default="humanize",
    type=click.Choice(["json", "console", "humanize"]),
    show_default=True,
    help="Log format.",
)
@click.option("--log-level", type=LOG_LEVELS, default="info", show_default=True, help=LOG_LEVEL_HELP)
@switch("--metrics", "No effect: metrics are always served.", default=True, hidden=True)
@switch("--profile", "No effect.", hidden=True)
@switch("--profile-debug-logging", "No effect.", hidden=True)
@click.option("--profiler-credentials-file", default=None, hidden=True)
def command(**flags: Any) -> None:
    """Run the agent, which deploys applications from Git."""
    configure_logging(flags["log_encoding"], flags["log_level"])
    with configuration(flags) as (spec, options), suppress(asyncio.CancelledError):
        if flags["add_login_user_to_passwd"]:
            _add_login_user(Path("/etc/passwd"))
        _prepend_to_path(options.tools_dir)
        asyncio.run(_until_signal(spec, options))


@contextmanager
def configuration(flags: dict[str, Any]) -> Iterator[tuple[config.PipedSpec, Options]]:
    """The configuration and the options that the flags specify. Raises ConfigError.

    Errors about keys of the configuration, also those that the block raises, name its file and line.
    """
    _warn_without_effect(flags)
    source = asyncio.run(read(config_flags(flags)))
    document = config.read_document(source.text, source.name)
    spec = config.decode_spec(document)
    check_provider_types(spec, document)
    spec = with_default_provider(spec, flags["enable_default_kubernetes_cloud_provider"])
    check_provider_configs(spec, document)
    check_receivers(spec, document)
    log_keys_without_effect(spec, document)
    home = flags["home_dir"] or Path.home() / ".piped"
    options = Options(
        transport=Transport(insecure=flags["insecure"], cert_file=flags["cert_file"]),
        admin_host=flags["admin_host"],
        admin_port=flags["admin_port"],
        home=home,
        tools_dir=flags["tools_dir"] or home / "tools",
        grace_period=flags["grace_period"],
        launcher_version=flags["launcher_version"],
        shown_config=config.mask_secrets(document),
    )
    with locating_errors(document):
        yield spec, options


async def _until_signal(spec: config.PipedSpec, options: Options) -> None:
    """Runs the agent. Raises CancelledError once it has shut down after a signal."""
    loop, agent = asyncio.get_running_loop(), asyncio.current_task()
    assert agent is not None

    def stop(name: str) -> None:
        log.info("shutting_down", signal=name, grace_period_seconds=options.grace_period)
        agent.cancel()
        # Safe: the next process finds and continues the running work.
        loop.call_later(options.grace_period, os._exit, 1)

    call_at_stop_signal(stop)
    await run(spec, options)


def _warn_without_effect(flags: dict[str, Any]) -> None:
    for name, reason in _WITHOUT_EFFECT.items():
        if flags[name]:
            log.warning("flag_without_effect", flag="--" + name.replace("_", "-"), reason=reason)
    if not flags["metrics"]:
        log.warning("flag_without_effect", flag="--metrics=false", reason="metrics are always served")


def _prepend_to_path(directory: Path) -> None:
    """Programs in `directory` take precedence, also in scripts of a pipeline."""
    os.environ["PATH"] = f"{directory}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def _add_login_user(passwd: Path) -> None:
    """OpenShift runs containers as a user that has no passwd entry, which `ssh` requires."""
    user = os.getuid()
    try:
        pwd.getpwuid(user)
    except KeyError:
        try:
            with passwd.open("a") as file:
                file.write(f"piped:x:{user}:0:piped:{Path.home()}:/sbin/nologin\n")
        except OSError as error:
            log.warning("passwd_entry_not_added", file=str(passwd), error=error.strerror)
