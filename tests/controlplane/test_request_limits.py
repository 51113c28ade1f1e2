"""Every string, list and map of every request has a limit of size."""

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pipecd.controlplane.rpc.method import Method
from pipecd.controlplane.rpc.table import methods
from pipecd.controlplane.rpc.validation import DEFAULT_LIMITS, MAX_REQUEST_SIZE, validate, validate_request
from pipecd.errors import Refused
from pipecd.schema.agent import deployments_pb2, live_state_pb2, logs_pb2
from pipecd.schema.model.live_state_pb2 import (
    ApplicationLiveStateSnapshot,
    ApplicationLiveStateVersion,
    KubernetesApplicationLiveState,
    KubernetesResourceState,
)
from pipecd.schema.model.stage_log_pb2 import LogBlock
from pipecd.schema.pipecd.v1 import agent_pb2, console_pb2
from pipecd.schema.web import deployments_pb2 as web_deployments_pb2
from tests.controlplane.requests import add_item, fill, is_map, map_value, parent_of, paths, rules_of
from tests.loop_latency import loop_latency

LINE = LogBlock(index=1_764_000_000_000_000, log="x", created_at=1_764_000_000)
METHODS = {method.request.DESCRIPTOR.full_name: method for method in methods().values()}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_value_over_the_limit_of_any_field_is_refused(method: Method) -> None:
    """The error names the field and the limit."""
    validate(fill(method.request()))
    for path in paths(method.request.DESCRIPTOR):
        field = path[-1]
        request = fill(method.request())
        limit = exceed(parent_of(request, path), field)
        if limit is None:
            continue
        with pytest.raises(Refused) as refused:
            validate(request)
        assert field.name in str(refused.value)
        assert f"allows at most {limit} " in str(refused.value), path


def exceed(message: Message, field: FieldDescriptor) -> int | None:
    """Set `field` to a value over its limit, and return the limit; None if the size of requests limits it."""
    rules = rules_of(field)
    values: Any = getattr(message, field.name)
    if is_map(field):
        limit = rules.max_pairs or DEFAULT_LIMITS.pairs
        text = map_value(field).type == FieldDescriptor.TYPE_STRING
        for number in range(limit + 1):
            if text:
                values[f"k{number}"] = "v"
            else:
                values.get_or_create(f"k{number}") if hasattr(values, "get_or_create") else values[
                    f"k{number}"
                ]
        return limit
    if field.is_repeated:
        limit = rules.max_items or DEFAULT_LIMITS.items
        add_item(message, field)
        item = values[-1]
        values.extend([item] * limit)
        return limit
    if field.type != FieldDescriptor.TYPE_STRING:
        return None
    limit = rules.max_len or DEFAULT_LIMITS.string
    if limit >= MAX_REQUEST_SIZE:
        return None
    setattr(message, field.name, "x" * (limit + 1))
    return limit


def value_of(field: FieldDescriptor) -> Any:
    return "v" if field.type == FieldDescriptor.TYPE_STRING else 1


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (console_pb2.PageApplicationsRequest(search="a " * 400), "search allows at most 20 words, not 400"),
        (console_pb2.PageApplicationsRequest(search="a" * 20_000), "search allows at most 1000 characters"),
        (
            console_pb2.PageApplicationsRequest(labels={f"k{number}": "v" for number in range(1_100)}),
            "labels allows at most 50",
        ),
        (agent_pb2.AgentWatchRequest(instance="a" * 8_000), "instance allows at most 64 characters"),
        (deployments_pb2.GetDeploymentRequest(id="a\0b"), "id contains the character NUL"),
        (
            deployments_pb2.SaveStageMetadataRequest(
                deployment_id="d", stage_id="s", metadata={"k" * 5_000: "v"}
            ),
            r"metadata: key 'k{59}… allows at most 4096",
        ),
        (
            web_deployments_pb2.ListDeploymentsRequest(page_min_updated_at=2**63 - 1),
            "page_min_updated_at must be at most",
        ),
    ],
)
def test_the_error_names_the_field_and_the_limit(request_: Message, error: str) -> None:
    with pytest.raises(Refused, match=error):
        validate(request_)


@pytest.mark.parametrize(
    "request_",
    [
        logs_pb2.ReportStageLogsRequest(deployment_id="d", stage_id="s", blocks=[LINE] * 150_000),
        logs_pb2.ReportStageLogsRequest(
            deployment_id="d", stage_id="s", blocks=[LogBlock(index=1, log="\0" * 4_000_000, created_at=1)]
        ),
        live_state_pb2.ReportApplicationLiveStateRequest(
            snapshot=ApplicationLiveStateSnapshot(
                application_id="a",
                piped_id="p",
                project_id="j",
                version=ApplicationLiveStateVersion(timestamp=1),
                kubernetes=KubernetesApplicationLiveState(
                    resources=[
                        KubernetesResourceState(
                            id=f"v1:Pod:default:shop-{number}",
                            name=f"shop-{number}",
                            api_version="v1",
                            kind="Pod",
                            parent_ids=["v1:ReplicaSet:default:shop"],
                            created_at=1,
                            updated_at=1,
                        )
                        for number in range(15_000)
                    ]
                ),
            )
        ),
        deployments_pb2.ReportDeploymentCompletedRequest(
            deployment_id="d", status_reason="an error with a diff\n" * 3_000, completed_at=1
        ),
    ],
    ids=[
        "a hundred and fifty thousand lines",
        "one line of 4 MB",
        "a live state of 15,000 resources",
        "reason",
    ],
)
async def test_what_agents_report_is_within_the_limits(request_: Message) -> None:
    """PipeCD's agents report what their programs print and what runs in large clusters."""
    assert request_.ByteSize() < MAX_REQUEST_SIZE
    async with loop_latency() as latency:
        await validate_request(request_)
    latency.check()
