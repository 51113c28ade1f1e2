"""What every call of the control plane works with. Put together once, by `run`; tests make their own."""

import time
from dataclasses import dataclass, field

from pipecd.controlplane.auth.credential_cache import Credentials
from pipecd.controlplane.auth.keys import Keys
from pipecd.controlplane.auth.projects import Projects
from pipecd.controlplane.auth.sessions import Sessions
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.blobs import Blobs
from pipecd.controlplane.store.stage_logs import StageLogs


@dataclass(frozen=True, kw_only=True)
class Plane:
    store: Store
    blobs: Blobs
    logs: StageLogs
    projects: Projects
    sessions: Sessions
    credentials: Credentials
    keys: Keys = field(default_factory=Keys)
    #: How people reach the console, without a slash at the end; in links.
    address: str = ""

    def now(self) -> int:
        """Epoch seconds."""
        return int(time.time())
