"""What the command line says about a run of the agent, beside its configuration file."""

from dataclasses import dataclass, field
from pathlib import Path

from pipecd.client import DIAL_TIMEOUT, Transport


def _home() -> Path:
    return Path.home() / ".piped"


@dataclass(frozen=True, kw_only=True)
class Options:
    transport: Transport = field(default_factory=Transport)
    admin_host: str = ""
    #: 0 lets the system choose, which is of use in tests only.
    admin_port: int = 9085
    #: Mirrors of repositories, and checkouts while they are used.
    home: Path = field(default_factory=_home)
    tools_dir: Path = field(default_factory=lambda: _home() / "tools")
    #: How long the end may take (seconds).
    grace_period: float = 30.0
    #: How long one try to reach the control plane waits at the start (seconds).
    dial_timeout: float = DIAL_TIMEOUT
    launcher_version: str = ""
    #: The configuration with its secrets masked, as the console shows it.
    shown_config: str = ""
