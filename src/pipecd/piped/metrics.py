"""The agent's metrics. `admin` serves them, `stats` reports them every minute."""

from prometheus_client import Counter, Gauge, Histogram

from pipecd.model.deployment import Deployment
from pipecd.model.status import DeploymentStatus
from pipecd.telemetry import AGENT_METRICS
from pipecd.trace_export.queue import REQUESTS, SPANS_DROPPED
from pipecd.watchdog import BLOCKED_SECONDS

REGISTRY = AGENT_METRICS
for shared in (BLOCKED_SECONDS, REQUESTS, SPANS_DROPPED):
    REGISTRY.register(shared)
INTERNAL_ERRORS = Counter("piped_faults_total", "Internal errors of the agent", ["loop"], registry=REGISTRY)
# What counts internal errors besides the loops of `loop`. All series exist from the start: one that appears
# with a value has no increase by it.
for name in (
    "notifier",
    "perform",
    "plan preview",
    "planner",
    "platform watches",
    "provider check",
    "resource requests",
    "trigger",
    "worker",
):
    INTERNAL_ERRORS.labels(loop=name)
DEPLOYMENT_STATUS = Gauge(
    "deployment_status",
    "1 for the status a deployment is in, 0 for the others",
    [
        "deployment",
        "application_id",
        "application_name",
        "application_kind",
        "platform_provider",
        "status",
    ],
    registry=REGISTRY,
)
PREVIEWS_RECEIVED = Counter("plan_preview_command_received", "Plan previews requested", registry=REGISTRY)
PREVIEWS_HANDLED = Counter(
    "plan_preview_command_handled", "Plan previews completed", ["status"], registry=REGISTRY
)
PREVIEW_SECONDS = Histogram(
    "plan_preview_command_handling_seconds",
    "Duration of plan previews",
    ["status"],
    buckets=(1, 10, 30, 60, 120, 300, 600),
    registry=REGISTRY,
)
NOTIFICATIONS = Counter(
    "piped_notifications",
    "Notifications by sink and outcome: delivered, failed, or lost because too many were queued",
    ["sink", "outcome"],
    registry=REGISTRY,
)
#: `outcome` of NOTIFICATIONS.
OUTCOMES = ("delivered", "failed", "lost")
OUTBOX_PENDING = Gauge(
    "pipecd_outbox_pending", "Messages that wait for a receiver.", ["receiver"], registry=REGISTRY
)


def start_counting_notifications(sink: str) -> None:
    """Create the series: one that appears with a value, such as the first lost message, has no increase."""
    for outcome in OUTCOMES:
        NOTIFICATIONS.labels(sink, outcome)


def set_deployment_status(deployment: Deployment) -> None:
    """Sets the status gauge. The series of a completed deployment are removed, to bound their number."""
    for status in DeploymentStatus:
        labels = (
            deployment.id,
            deployment.application_id,
            deployment.application_name,
            deployment.kind,
            deployment.platform_provider,
            f"DEPLOYMENT_{status.name}",
        )
        if deployment.status.final:
            DEPLOYMENT_STATUS.remove(*labels)
        else:
            DEPLOYMENT_STATUS.labels(*labels).set(float(status is deployment.status))
