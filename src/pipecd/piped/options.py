"""Options of the agent that do not come from its configuration file: mostly from the command line."""

from dataclasses import dataclass, field
from pathlib import Path

from pipecd.admin_port import LOOPBACK
from pipecd.client import Transport
from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.piped.settings import Settings


def _home() -> Path:
    return Path.home() / ".piped"


@dataclass(frozen=True, kw_only=True)
class Options:
    transport: Transport = field(default_factory=Transport)
    admin_host: str = LOOPBACK
    #: 0 lets the system choose a port; for tests.
    admin_port: int = 9085
    #: Contains mirrors of repositories, and checkouts in use.
    home: Path = field(default_factory=_home)
    tools_dir: Path = field(default_factory=lambda: _home() / "tools")
    #: Maximum duration of a shutdown, in seconds.
    grace_period: float = 30.0
    launcher_version: str = ""
    #: The configuration with secrets masked, as shown in the console.
    shown_config: str = ""
    #: Not on the command line; for tests.
    clock: Clock = SYSTEM_CLOCK
    settings: Settings = field(default_factory=Settings)
