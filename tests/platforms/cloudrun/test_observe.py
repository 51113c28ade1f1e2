"""Live state, drift and plan preview against the emulated API."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipecd.clock import SYSTEM_CLOCK
from pipecd.errors import Refused
from pipecd.model.drift import Drift
from pipecd.model.resource import Health, Resource
from pipecd.platforms.cloudrun import platform
from pipecd.platforms.cloudrun.client import open_client
from pipecd.platforms.connections import connection_pool
from pipecd.quickstart.cloud_run import CloudRun
from tests.platforms.aws.observation import observation_request
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded
from tests.platforms.cloudrun.conftest import JOB, SERVICE, job, service
from tests.platforms.make_preview import make_preview
from tests.trace_collector import recorded

Checkout = Callable[..., Path]
KEY = f"serving.knative.dev/v1:Service::{SERVICE}"


async def resources(runner: AwsRunner) -> Sequence[Resource]:
    assert platform.observes
    return await platform.observes.load(await observation_request(platform, runner.provider, runner.target))


async def drift(runner: AwsRunner, *ignored: str) -> Drift:
    assert platform.compares
    return await platform.compares.detect(
        await observation_request(platform, runner.provider, runner.target, *ignored)
    )


async def test_requests_are_spans_of_the_trace(runner: AwsRunner) -> None:
    async with recorded() as spans:
        await resources(runner)
    *requests, test = spans
    assert requests and {(span.name, span.parent) for span in requests} == {("cloudrun GET", test.id)}


async def test_the_service_and_its_revisions_with_traffic_or_tags_are_shown(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    assert await resources(runner) == []
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    runner = runner.next_deployment(checkout("v2"))
    assert_succeeded(await runner.run("CLOUDRUN_PROMOTE", percent=10))
    top, *revisions = await resources(runner)
    assert (top.kind, top.name, top.health) == ("Service", SERVICE, Health.HEALTHY)
    assert {item.parents for item in revisions} == {(top.id,)}
    assert sorted(item.health_reason for item in revisions) == [
        "10 % of the traffic; tag pipecd-commit: https://pipecd-commit---shop-abc123.a.run.app",
        "90 % of the traffic",
    ]
    assert all(item.health == Health.HEALTHY for item in revisions), "also without an active instance"


async def test_a_revision_that_fails_makes_the_service_unhealthy(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    await runner.next_deployment(checkout("broken")).run("CLOUDRUN_SYNC")
    top = (await resources(runner))[0]
    assert top.health == Health.UNHEALTHY
    assert "failed to start and listen on the port" in top.health_reason


async def test_a_job_is_shown_with_its_last_executions(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    runner.target = checkout("j1", job("j1"), input={"jobManifestFile": "job.yaml"})
    for number in range(4):
        assert_succeeded(await runner.run("CLOUDRUN_JOB_SYNC", stage_id=f"s{number}", run=True))
    cloud.settle()
    top, *executions = await resources(runner)
    assert (top.kind, top.name, top.health) == ("Job", JOB, Health.HEALTHY)
    assert [item.name for item in executions] == list(cloud.objects["executions"])[:0:-1]
    assert {item.health_reason for item in executions} == {"tasks: 1 succeeded"}


async def test_observing_at_rest_is_cheap(cloud: CloudRun, runner: AwsRunner) -> None:
    """Several applications share one list; a dry run is a write in Google's quota."""
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    for _ in range(3):
        await resources(runner)
        assert (await drift(runner)).in_sync
    before = len(cloud.calls)
    for _ in range(10):
        await resources(runner)
        assert (await drift(runner)).in_sync
    assert [call.name for call in cloud.calls[before:]] == []


@pytest.mark.parametrize("page", [1, 2])
async def test_lists_are_read_to_their_last_page(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout, page: int
) -> None:
    """Services, revisions and executions."""
    cloud.max_page_size = page
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    for number in range(3):
        other = runner.next_deployment(checkout(f"other-{number}", service("v1", name=f"other-{number}")))
        assert_succeeded(await other.run("CLOUDRUN_SYNC"))
    later = runner.next_deployment(checkout("v2"))
    assert_succeeded(await later.run("CLOUDRUN_PROMOTE", percent=10))
    before = len(cloud.calls)
    assert [item.kind for item in await resources(later)] == ["Service", "Revision", "Revision"]
    names = [call.name for call in cloud.calls[before:]]
    assert "GetServices" not in names and names.count("ListServices") == 4 // page
    runner.target = checkout("j1", job("j1"), input={"jobManifestFile": "job.yaml"})
    for number in range(4):
        await runner.run("CLOUDRUN_JOB_SYNC", run=True, stage_id=f"run-{number}")
    assert [item.kind for item in await resources(runner)] == ["Job", *["Execution"] * 3]


async def test_a_list_without_end_is_refused(cloud: CloudRun, runner: AwsRunner) -> None:
    cloud.max_page_size = 0
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    async with open_client(runner.provider, max_listed=3) as client:
        with pytest.raises(Refused, match="Cloud Run lists more than 3 services"):
            await client.list("services", "")


@pytest.mark.parametrize("dry_runs", [True, False])
async def test_there_is_no_drift_after_a_deployment(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout, dry_runs: bool
) -> None:
    manifest = service("v1", timeoutSeconds=60)
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"cpu": "2000m", "memory": "1Gi"}}
    manifest["metadata"]["annotations"] = {"run.googleapis.com/ingress": "internal"}
    runner.target = checkout("full", manifest)
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    cloud.dry_runs = dry_runs
    assert (await drift(runner)).in_sync


@pytest.mark.parametrize("dry_runs", [True, False])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda spec: spec["containers"][0].update(image="other:1"), "image: other:1"),
        (lambda spec: spec["containers"][0]["env"].append({"name": "NEW", "value": "1"}), "name: NEW"),
        (lambda spec: spec["containers"][0]["env"].clear(), "name: LEVEL"),
    ],
)
async def test_a_change_by_hand_is_found(
    cloud: CloudRun, runner: AwsRunner, dry_runs: bool, change: Any, expected: str
) -> None:
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    change(cloud.objects["services"][SERVICE]["spec"]["template"]["spec"])
    cloud.dry_runs = dry_runs
    found = await drift(runner)
    assert found.summary == "Differs from Git: 1 changed" and expected in found.details


async def test_a_setting_that_git_does_not_have_is_found(cloud: CloudRun, runner: AwsRunner) -> None:
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    cloud.objects["services"][SERVICE]["spec"]["template"]["spec"]["timeoutSeconds"] = 30
    assert "timeoutSeconds: 30" in (await drift(runner)).details
    assert (await drift(runner, f"{KEY}#spec.template.spec.timeoutSeconds")).in_sync


async def test_what_a_dry_run_answers_differently_by_itself_is_no_drift(
    cloud: CloudRun, runner: AwsRunner
) -> None:
    """Fields that the server rewrites, or does not repeat, tell nothing about Git."""
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    live = cloud.objects["services"][SERVICE]
    live["metadata"]["annotations"]["run.googleapis.com/new-feature"] = "set by the server"
    written = cloud._merged

    def forgets(plural: str, body: Any, live: Any, spec: Any) -> Any:
        result = written(plural, body, live, spec)
        result["metadata"]["annotations"].pop("run.googleapis.com/new-feature", None)
        return result

    cloud._merged = forgets  # type: ignore[method-assign]
    assert (await drift(runner)).in_sync


async def test_a_deleted_service_is_drift(cloud: CloudRun, runner: AwsRunner) -> None:
    assert (await drift(runner)).summary == "Differs from Git: 1 missing"
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    async with connection_pool(SYSTEM_CLOCK):
        assert (await drift(runner)).in_sync
        assert len(await resources(runner)) == 2
    del cloud.objects["services"][SERVICE]
    async with connection_pool(SYSTEM_CLOCK):
        assert (await drift(runner)).summary == "Differs from Git: 1 missing"
        assert await resources(runner) == []


@pytest.mark.parametrize("dry_runs", [True, False])
async def test_values_of_a_job_that_may_be_secrets_are_hidden(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout, dry_runs: bool
) -> None:
    manifest = job("j1")
    container = manifest["spec"]["template"]["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "API_TOKEN", "value": "swordfish"}]
    runner.target = checkout("job", manifest, input={"jobManifestFile": "job.yaml"})
    assert_succeeded(await runner.run("CLOUDRUN_JOB_SYNC"))
    live = cloud.objects["jobs"][JOB]["spec"]["template"]["spec"]["template"]["spec"]["containers"][0]
    live["env"][0]["value"] = "sesame"
    cloud.dry_runs = dry_runs
    details = (await drift(runner)).details
    assert "API_TOKEN" in details and "swordfish" not in details and "sesame" not in details


async def test_values_that_may_be_secrets_are_hidden(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    manifest = service("v1")
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "DB_PASSWORD", "value": "swordfish"}]
    runner.target = checkout("secret", manifest)
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    live = cloud.objects["services"][SERVICE]["spec"]["template"]["spec"]["containers"][0]
    live["env"][0]["value"] = "sesame"
    details = (await drift(runner)).details
    preview = await make_preview(platform, runner.target, None, provider=runner.provider)
    for text in (details, preview.details):
        assert "DB_PASSWORD" in text and "(another value)" in text
        assert "swordfish" not in text and "sesame" not in text


async def test_a_preview_shows_what_google_would_change(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    first = await make_preview(platform, runner.target, None, provider=runner.provider)
    assert first.summary == "This would be the first deployment" and not cloud.objects["services"]
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    same = await make_preview(platform, runner.target, runner.target, provider=runner.provider)
    assert same.no_change and same.summary == "No changes were detected"
    changed = await make_preview(platform, checkout("v2"), runner.target, provider=runner.provider)
    assert changed.summary == "1 change was detected"
    lines = changed.details.splitlines()
    assert [line[0] for line in lines if "shop/web:v" in line] == ["-", "+"]


async def test_a_preview_says_what_google_refuses(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    manifest = service("v2")
    manifest["spec"]["template"]["spec"]["containers"][0]["imag"] = "typo"
    with pytest.raises(Refused, match=r"Google refuses the service shop: .*imag is unknown"):
        await make_preview(platform, checkout("v2", manifest), runner.target, provider=runner.provider)


async def test_a_preview_without_google_compares_the_files(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    cloud.fail("GetServices", 503, {"error": {"message": "try again"}})
    preview = await make_preview(platform, checkout("v2"), runner.target, provider=runner.provider)
    assert preview.summary.startswith("1 change was detected, compared with the last deployment only:")
