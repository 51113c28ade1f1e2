"""Operations of AWS are spans of the trace to which they belong."""

import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.platforms import aws
from pipecd.platforms.aws import AwsProvider
from pipecd.platforms.connections import connection_pool
from tests.aws import REGION, credential_chain, emulated_aws
from tests.trace_collector import recorded


async def test_an_operation_is_a_span_and_a_refused_one_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with emulated_aws() as account, credential_chain(monkeypatch, account.environment()):
        async with connection_pool(SYSTEM_CLOCK), aws.client("ecs", AwsProvider(region=REGION)) as ecs:
            await ecs.list_clusters()
            async with recorded() as spans:
                await ecs.list_clusters()
                with pytest.raises(ecs.exceptions.ClientError):
                    await ecs.describe_services(cluster="missing", services=["a"])
    listed, refused, test = spans
    assert (listed.name, listed.parent, listed.failure) == ("ecs ListClusters", test.id, "")
    assert listed.attributes["http.response.status_code"] == "200"
    assert (refused.name, refused.failure) == ("ecs DescribeServices", "400")
