"""Jobs against the emulated API."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipecd.quickstart.cloud_run import CloudRun
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded, failure_text
from tests.platforms.cloudrun.conftest import JOB, job

Checkout = Callable[..., Path]
INPUT = {"jobManifestFile": "job.yaml"}


def image(cloud: CloudRun) -> str:
    task = cloud.objects["jobs"][JOB]["spec"]["template"]["spec"]["template"]["spec"]
    return str(task["containers"][0]["image"].rpartition(":")[2])


async def test_a_job_is_updated_and_not_run(cloud: CloudRun, runner: AwsRunner, checkout: Checkout) -> None:
    runner.target = checkout("j1", job("j1"), input=INPUT)
    done = assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    assert done.note == "The job report is updated"
    assert image(cloud) == "j1" and not cloud.objects["executions"]
    assert cloud.objects["jobs"][JOB]["metadata"]["labels"]["pipecd-dev-application"] == "app-1"


async def test_a_quick_sync_runs_the_job_if_asked_to(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    runner.target = checkout("j1", job("j1"), input=INPUT, quickSync={"run": True})
    done = assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    (name,) = cloud.objects["executions"]
    assert done.note == f"{name}: 1 of 1 tasks succeeded"


async def test_a_failed_execution_fails_the_stage_and_is_rolled_back(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    runner.target = checkout("j1", job("j1"), input=INPUT)
    assert_succeeded(await runner.run("CLOUDRUN_JOB_SYNC"))
    runner = runner.next_deployment(checkout("broken", job("broken"), input=INPUT))
    text = failure_text(await runner.run("CLOUDRUN_JOB_SYNC", run=True))
    assert (
        "failed: Task report-" in text
        and "The container exited with an error. (0 of 1 tasks succeeded, 1 failed)" in text
    )
    assert "see its logs at https://console.cloud.google.com" in text
    done = assert_succeeded(await runner.run("ROLLBACK"))
    assert done.note.endswith("again; it was not run")
    assert image(cloud) == "j1" and len(cloud.objects["executions"]) == 1


async def test_an_execution_may_go_on_after_the_stage(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    runner.target = checkout("slow", job("slow"), input=INPUT)
    done = assert_succeeded(await runner.run("CLOUDRUN_JOB_SYNC", run=True, wait=False))
    assert "was started" in done.note


@pytest.mark.parametrize(
    ("stage", "expected"), [("CLOUDRUN_PROMOTE", "this is a job; use CLOUDRUN_JOB_SYNC")]
)
async def test_a_stage_for_services_refuses_a_job(
    runner: AwsRunner, checkout: Checkout, stage: str, expected: str
) -> None:
    runner.target = checkout("j1", job("j1"), input=INPUT)
    assert expected in failure_text(await runner.run(stage))


async def test_a_stage_for_jobs_refuses_a_service(runner: AwsRunner) -> None:
    assert "this is a service; set input.jobManifestFile" in failure_text(
        await runner.run("CLOUDRUN_JOB_SYNC")
    )


async def test_a_name_that_is_too_long_to_run(runner: AwsRunner, checkout: Checkout) -> None:
    manifest = job("j1")
    manifest["metadata"]["name"] = "a" * 55
    runner.target = checkout("j1", manifest, input=INPUT)
    assert "use at most 51 characters, or remove run" in failure_text(
        await runner.run("CLOUDRUN_JOB_SYNC", run=True)
    )


async def test_a_job_of_another_application_is_refused(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    runner.target = checkout("j1", job("j1"), input=INPUT)
    assert_succeeded(await runner.run("CLOUDRUN_JOB_SYNC"))
    cloud.objects["jobs"][JOB]["metadata"]["labels"]["pipecd-dev-application"] = "app-2"
    again = runner.next_deployment(checkout("j2", job("j2"), input=INPUT))
    text = failure_text(await again.run("CLOUDRUN_JOB_SYNC"))
    assert "the job report belongs to the application app-2; rename the job in the manifest" in text
    assert image(cloud) == "j1"
