"""`piped piped`: the agent's command line. Flags are PipeCD's; those that have no meaning here say so.

Reads the configuration, sets up logging, and runs the agent until a signal: the first one shuts down within
the grace period, and what is not done by then is left to the next process.
"""

import asyncio
import os
import pwd
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import structlog

from pipecd.client import Transport
from pipecd.config import piped as config
from pipecd.config.flags import Duration, config_flags, config_options, switch
from pipecd.config.sources import read
from pipecd.piped import run
from pipecd.piped.options import Options
from pipecd.telemetry import configure_logging

log = structlog.get_logger()

#: Flag → why it does nothing.
_WITHOUT_EFFECT = {
    "enable_default_kubernetes_cloud_provider": "name the provider in spec.platformProviders",
    "app_manifest_cache_count": "manifests are not cached",
    "profile": "profiles are not uploaded",
    "profile_debug_logging": "profiles are not uploaded",
    "profiler_credentials_file": "profiles are not uploaded",
}


@click.command("piped", context_settings={"max_content_width": 110})
@config_options
@switch("--insecure", "Speak plaintext with the control plane.")
@click.option("--cert-file", default="", help="Trust these PEM certificates instead of the system's.")
@click.option("--admin-port", default=9085, show_default=True, help="For /healthz, /metrics and /version.")
@click.option(
    "--admin-host", default="", metavar="ADDRESS", help="Where the admin port listens. Default: everywhere"
)
@click.option("--home-dir", default=None, type=click.Path(path_type=Path), help="Default: ~/.piped")
@click.option("--tools-dir", default=None, type=click.Path(path_type=Path), help="Default: ~/.piped/tools")
@click.option("--grace-period", default=30.0, type=Duration(), help="How long the end may take.")
@click.option("--launcher-version", default="", help="Set by the launcher.")
@switch("--add-login-user-to-passwd", "Name this process's user in /etc/passwd, for SSH on OpenShift.")
@switch("--enable-default-kubernetes-cloud-provider", "Without effect.", hidden=True)
@click.option("--app-manifest-cache-count", default=None, type=int, hidden=True)
@click.option(
    "--log-encoding",
    default="humanize",
    type=click.Choice(["json", "console", "humanize"]),
    show_default=True,
)
@click.option("--log-level", default="info", show_default=True)
@switch("--metrics", "Without effect: metrics are always served.", default=True, hidden=True)
@switch("--profile", "Without effect.", hidden=True)
@switch("--profile-debug-logging", "Without effect.", hidden=True)
@click.option("--profiler-credentials-file", default=None, hidden=True)
def command(**flags: Any) -> None:
    """Run the agent: watch Git, and bring applications to the commits that it names."""
    configure_logging(flags["log_encoding"], flags["log_level"])
    _warn(flags)
    text = asyncio.run(read(config_flags(flags)))
    spec = config.load(text.text, text.name)
    if flags["add_login_user_to_passwd"]:
        _add_login_user(Path("/etc/passwd"))
    home = flags["home_dir"] or Path.home() / ".piped"
    options = Options(
        transport=Transport(insecure=flags["insecure"], cert_file=flags["cert_file"]),
        admin_host=flags["admin_host"],
        admin_port=flags["admin_port"],
        home=home,
        tools_dir=flags["tools_dir"] or home / "tools",
        grace_period=flags["grace_period"],
        launcher_version=flags["launcher_version"],
        shown_config=config.masked(text.text, text.name),
    )
    _find_tools_in(options.tools_dir)
    with suppress(asyncio.CancelledError):
        asyncio.run(_until_signal(spec, options))


async def _until_signal(spec: config.PipedSpec, options: Options) -> None:
    """Raises CancelledError once the agent has shut down for a signal."""
    loop, agent = asyncio.get_running_loop(), asyncio.current_task()
    assert agent is not None

    def stop(name: str) -> None:
        log.info("shutting down", signal=name, grace_period=options.grace_period)
        agent.cancel()
        # Nothing is lost by it: what is at work is found again by the next process.
        loop.call_later(options.grace_period, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    await run(spec, options)


def _warn(flags: dict[str, Any]) -> None:
    for name, why in _WITHOUT_EFFECT.items():
        if flags[name]:
            log.warning("flag without effect", flag="--" + name.replace("_", "-"), why=why)
    if not flags["metrics"]:
        log.warning("flag without effect", flag="--metrics=false", why="metrics are always served")


def _find_tools_in(folder: Path) -> None:
    """Programs that were put there come first, also for scripts of a pipeline."""
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def _add_login_user(passwd: Path) -> None:
    """OpenShift runs containers as a user without a name, and `ssh` wants one."""
    user = os.getuid()
    try:
        pwd.getpwuid(user)
    except KeyError:
        try:
            with passwd.open("a") as file:
                file.write(f"piped:x:{user}:0:piped:{Path.home()}:/sbin/nologin\n")
        except OSError as error:
            log.warning("user not named", file=str(passwd), why=error.strerror)
