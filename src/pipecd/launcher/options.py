"""What the command line says about a run of the launcher, beside its source of configuration."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipecd.client import Transport


def default_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "piped-launcher"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long things may take, in seconds."""

    #: From the start of an agent to its first good `/healthz`.
    start: float = 120.0
    #: So long an agent must then live before its version and configuration count as good.
    steady: float = 30.0
    #: What failed is tried again after so long, though nobody changed it.
    forgive: float = 600.0
    #: Installing a version: download and unpacking.
    install: float = 900.0
    #: A launcher whose agent has not answered for so long is unwell.
    silence: float = 180.0
    #: The first and the longest pause before an agent that died is started again.
    first_pause: float = 1.0
    longest_pause: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Options:
    transport: Transport = field(default_factory=Transport)
    #: Installed versions, the agent's configuration file, and a lock.
    home: Path = field(default_factory=default_home)
    #: Runs when the control plane asks for none; empty is the launcher's own.
    default_version: str = ""
    #: Where versions come from: `index`, a folder, or the URL of a bucket or server. Empty is nowhere.
    releases: str = ""
    #: A PEM file with the Ed25519 key that releases are signed with; empty means unsigned ones will do.
    release_key_file: str = ""
    #: For launcher and agent together. 0 lets the system choose, which is of use in tests only.
    admin_host: str = ""
    admin_port: int = 9085
    #: The same pages on a port of the launcher's own, as PipeCD has it; 0 is none.
    launcher_admin_port: int = 0
    check_interval: float = 60.0
    grace_period: float = 30.0
    #: Flags for the agent.
    forwarded: Sequence[str] = ()
    patience: Patience = field(default_factory=Patience)
