"""The launcher's options, mostly from the command line, except its configuration source."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipecd.admin_port import LOOPBACK
from pipecd.client import Transport
from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.retry import Retry


def default_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "piped-launcher"


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Time limits and delays, in seconds."""

    #: From the start of an agent to its first successful `/healthz`.
    startup: float = 120.0
    #: How long a healthy agent must keep running before its version and configuration count as good.
    stable: float = 30.0
    #: How long a failed target stays rejected, even if nothing changes.
    rejection: float = 600.0
    #: Installing a version: download and unpacking.
    install: float = 900.0
    #: The launcher is unhealthy after the agent has not answered for this long.
    unresponsive: float = 180.0
    #: First delay before a failed agent is restarted; it doubles with each failure.
    min_restart_delay: float = 1.0
    max_restart_delay: float = 60.0
    #: Between health checks of a starting agent: the upgrade's downtime grows by at most this.
    probe_interval: float = 0.25
    #: Added to the agent's own grace period before it is killed, so that the agent can enforce that itself.
    kill_margin: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Options:
    transport: Transport = field(default_factory=Transport)
    #: Contains the installed versions, the agent's configuration file, and a lock.
    home: Path = field(default_factory=default_home)
    #: Used if the control plane specifies no version; empty for the launcher's own.
    default_version: str = ""
    #: Where versions are installed from: `index`, a directory, or the URL of a bucket or server. Empty: none.
    releases: str = ""
    #: A PEM file with the Ed25519 public key of signed releases; empty accepts unsigned releases.
    release_key_file: str = ""
    #: Run versions that are older than the last one that ran here, without a confirmation in the console.
    allow_downgrade: bool = False
    #: Admin port of launcher and agent together. 0 lets the system choose a port; for tests only.
    admin_host: str = LOOPBACK
    admin_port: int = 9085
    #: A second port with the same endpoints, for compatibility with PipeCD; 0 for none.
    launcher_admin_port: int = 0
    #: Between checks for a new configuration and version, in seconds.
    check_interval: float = 60.0
    #: How long the agent may take to shut down, in seconds.
    grace_period: float = 30.0
    #: Flags passed on to the agent.
    forwarded: Sequence[str] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    #: A target is rejected after this many consecutive runs that ended before they were stable. More than
    #: one, because an agent may fail for reasons outside of its version and configuration.
    max_failures: int = 3
    #: Reading the configuration at startup: a container's network may become available only after its first
    #: process has started.
    start_retry: Retry = Retry(base=1.0, cap=5.0, tries=4)
    #: For tests.
    clock: Clock = SYSTEM_CLOCK
