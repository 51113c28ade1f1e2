"""Metrics of PipeCD's agents about Kubernetes: requests, events of watches, and runs of renderers."""

from prometheus_client import Counter

from pipecd.telemetry import AGENT_METRICS

TOOL_CALLS = Counter(
    "cloudprovider_kubernetes_tool_calls_total",
    "Runs of helm and kustomize, by result: success or failure.",
    ["tool", "version", "command", "status"],
    registry=AGENT_METRICS,
)
REQUESTS = Counter(
    "livestatestore_kubernetes_api_requests_total",
    "Requests to API servers by status code; `<error>` if there was no answer.",
    ["host", "method", "code"],
    registry=AGENT_METRICS,
)
EVENTS = Counter(
    "livestatestore_kubernetes_resource_events_total",
    "Changes of watched objects by type: ADDED, MODIFIED, DELETED. Not handled are those of objects that"
    " belong to no application.",
    ["type", "handled"],
    registry=AGENT_METRICS,
)
