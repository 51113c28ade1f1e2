"""What the agent counts. `admin` shows it, `stats` reports it each minute."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pipecd.model.deployment import Deployment
from pipecd.model.status import DeploymentStatus

REGISTRY = CollectorRegistry()
FAULTS = Counter("piped_faults_total", "Faults of the agent itself", ["loop"], registry=REGISTRY)
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
PREVIEWS_ASKED = Counter(
    "plan_preview_command_received", "Plan previews that were asked for", registry=REGISTRY
)
PREVIEWS_ANSWERED = Counter(
    "plan_preview_command_handled", "Plan previews that were answered", ["status"], registry=REGISTRY
)
PREVIEW_SECONDS = Histogram(
    "plan_preview_command_handling_seconds",
    "How long plan previews took",
    ["status"],
    buckets=(1, 10, 30, 60, 120, 300, 600),
    registry=REGISTRY,
)


def show_status(deployment: Deployment) -> None:
    """Point the gauge at the deployment's status. A finished one is taken out: series are not history."""
    for status in DeploymentStatus:
        labels = (
            deployment.id,
            deployment.application_id,
            deployment.application_name,
            deployment.kind.name,
            deployment.platform_provider,
            f"DEPLOYMENT_{status.name}",
        )
        if deployment.status.final:
            DEPLOYMENT_STATUS.remove(*labels)
        else:
            DEPLOYMENT_STATUS.labels(*labels).set(float(status is deployment.status))
