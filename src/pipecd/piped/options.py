"""Options of the agent that come from the command line, not from its configuration file."""

from dataclasses import dataclass, field
from pathlib import Path

from pipecd.client import DIAL_TIMEOUT, Transport


def _home() -> Path:
    return Path.home() / ".piped"


@dataclass(frozen=True, kw_only=True)
class Options:
    transport: Transport = field(default_factory=Transport)
    admin_host: str = ""
    #: 0 lets the system choose a port; for tests.
    admin_port: int = 9085
    #: Contains mirrors of repositories, and checkouts in use.
    home: Path = field(default_factory=_home)
    tools_dir: Path = field(default_factory=lambda: _home() / "tools")
    #: Maximum duration of a shutdown, in seconds.
    grace_period: float = 30.0
    #: Timeout of one attempt to connect to the control plane at startup, in seconds.
    dial_timeout: float = DIAL_TIMEOUT
    launcher_version: str = ""
    #: The configuration with secrets masked, as shown in the console.
    shown_config: str = ""
