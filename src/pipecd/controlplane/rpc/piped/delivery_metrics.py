"""Metrics of deployments: created, ended, and how long they took. Reports of one replica are in its own."""

from prometheus_client import Counter, Histogram

from pipecd.model.status import DeploymentStatus
from pipecd.schema.model.deployment_pb2 import Deployment

#: Longer deployments count with this time (seconds): an agent may report any.
MAX_SECONDS = 30 * 86400

CREATED = Counter("grpcapi_create_deployment_total", "Deployments created by agents.", ["project"])
ENDED = Counter("pipecd_deployments_total", "Deployments that ended, by their status.", ["status"])
# All series exist from the start: one that appears with a value has no increase by it.
for status in DeploymentStatus:
    if status.final:
        ENDED.labels(status.name)
SECONDS = Histogram(
    "pipecd_deployment_seconds",
    "From the creation of a deployment to its end.",
    ["status"],
    buckets=(10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400),
)


QUEUE_SECONDS = Histogram(
    "pipecd_queue_seconds",
    "From the creation of a deployment to its start.",
    buckets=(1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
)


def observe_start(deployment: Deployment, now: int) -> None:
    QUEUE_SECONDS.observe(min(max(0, now - deployment.created_at), MAX_SECONDS))


def count_created(deployment: Deployment) -> None:
    CREATED.labels(deployment.project_id).inc()


def count_ended(deployment: Deployment) -> None:
    status = DeploymentStatus(deployment.status).name
    ENDED.labels(status).inc()
    seconds = deployment.completed_at - deployment.created_at
    SECONDS.labels(status).observe(min(max(0, seconds), MAX_SECONDS))
