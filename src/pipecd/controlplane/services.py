"""The services that every RPC handler and job receives. Created once, by `serving`."""

import asyncio
from dataclasses import dataclass, field

from pipecd.clock import Clock
from pipecd.controlplane.agent_requests import AgentRequests
from pipecd.controlplane.auth.call_limits import CallLimits
from pipecd.controlplane.auth.client_address import TrustedProxies
from pipecd.controlplane.auth.credential_cache import CredentialCache
from pipecd.controlplane.auth.group_checks import GroupChecks
from pipecd.controlplane.auth.keys import KeyLifetimes, Keys
from pipecd.controlplane.auth.projects import Projects
from pipecd.controlplane.auth.refusals import Refusals
from pipecd.controlplane.auth.sessions import Sessions
from pipecd.controlplane.auth.sso.flow import SingleSignOn
from pipecd.controlplane.endpoint import Endpoint
from pipecd.controlplane.notifications.receivers import ProjectReceivers
from pipecd.controlplane.records.insights import Insights
from pipecd.controlplane.settings import Settings
from pipecd.controlplane.store import Store
from pipecd.controlplane.store.blobs import Blobs
from pipecd.controlplane.store.stage_logs import StageLogs
from pipecd.trace_export.queue import ExportQueue


@dataclass(frozen=True, kw_only=True)
class Services:
    store: Store
    blobs: Blobs
    logs: StageLogs
    projects: Projects
    sessions: Sessions
    sso: SingleSignOn
    group_checks: GroupChecks
    credentials: CredentialCache
    clock: Clock
    settings: Settings
    agent_requests: AgentRequests
    insights: Insights
    refusals: Refusals
    call_limits: CallLimits
    receivers: ProjectReceivers
    #: Spans that agents sent, to be forwarded; None without a collector.
    traces: ExportQueue | None = None
    keys: Keys = field(default_factory=Keys)
    key_lifetimes: KeyLifetimes = field(default_factory=KeyLifetimes)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    #: Age at which rows of the audit log are deleted (seconds); 0 keeps all.
    audit_retention: float = 0.0
    #: Set when messages were added to the outbox.
    outbox_changed: asyncio.Event = field(default_factory=asyncio.Event)
    #: Base URL of the console, without a trailing slash; used in links.
    address: str = ""
    #: Where programs reach gRPC; shown in commands.
    endpoint: Endpoint = field(default_factory=Endpoint)

    def now(self) -> int:
        """The current time in epoch seconds."""
        return int(self.clock.now())
