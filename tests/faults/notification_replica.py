"""A process that sends notifications, for tests that kill it; with few imports, so that it starts fast."""

import asyncio

from pipecd import controlplane
from pipecd.config.controlplane import ControlPlaneSpec
from pipecd.controlplane import Options
from pipecd.controlplane.settings import NotificationSettings, Settings

#: The lease of a replica that was killed expires soon. A slow one may lose it, and send a message again.
SETTINGS = Settings(notifications=NotificationSettings(interval=0.05, lease_duration=1.0))


def run_jobs(spec: ControlPlaneSpec) -> None:
    """As `pipecd ops` does."""
    options = Options(encryption_key=b"k" * 32, host="127.0.0.1", admin_port=0, settings=SETTINGS)
    asyncio.run(controlplane.run_jobs(spec, options))
