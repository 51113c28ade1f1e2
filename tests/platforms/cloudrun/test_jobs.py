"""Jobs against the emulated API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipecd.errors import Refused, Temporary
from pipecd.quickstart.cloud_run import CloudRun
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded, failure_text
from tests.platforms.cloudrun.conftest import JOB, job, service

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


@pytest.mark.parametrize("stage", ["CLOUDRUN_JOB_SYNC", "CLOUDRUN_SYNC"])
async def test_the_execution_of_a_stopped_stage_is_cancelled(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout, stage: str
) -> None:
    options: dict[str, Any] = {"run": True} if stage == "CLOUDRUN_JOB_SYNC" else {}
    runner.target = checkout("slow", job("slow"), input=INPUT, quickSync={"run": True})
    await runner.run(stage, calls=8, **options)
    (execution,) = cloud.objects["executions"].values()
    assert execution["status"]["conditions"][0]["status"] == "Unknown"
    await runner.stop(stage, **options)
    assert execution["status"]["cancelledCount"] == 1
    assert runner.log.lines[-1] == f"Cancelled the execution {execution['metadata']['name']}"
    # After a kill it is stopped again.
    await runner.stop(stage, **options)
    assert [call.name for call in cloud.calls].count("CancelExecutions") == 1
    assert "The execution was cancelled" in failure_text(await runner.run(stage, **options))


async def test_an_execution_that_is_not_created_yet_is_waited_for(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    runner.target = checkout("slow", job("slow"), input=INPUT)
    await runner.run("CLOUDRUN_JOB_SYNC", calls=2, run=True)
    executions = dict(cloud.objects["executions"])
    cloud.objects["executions"].clear()
    with pytest.raises(Temporary, match="is not created yet"):
        await runner.stop("CLOUDRUN_JOB_SYNC", run=True)
    cloud.objects["executions"].update(executions)
    await runner.stop("CLOUDRUN_JOB_SYNC", run=True)
    assert cloud.calls[-1].name == "CancelExecutions"


async def test_nothing_is_cancelled_that_the_stage_did_not_start(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    runner.target = checkout("slow", job("slow"), input=INPUT)
    await runner.run("CLOUDRUN_JOB_SYNC", calls=8, run=True)
    other = runner.next_deployment(checkout("j2", job("j2"), input=INPUT))
    await other.stop("CLOUDRUN_JOB_SYNC", run=True)
    await runner.stop("CLOUDRUN_JOB_SYNC")
    await runner.next_deployment(checkout("v1-again", service("v1"))).stop("CLOUDRUN_SYNC")
    assert "CancelExecutions" not in [call.name for call in cloud.calls]


async def test_a_missing_right_to_cancel_is_named(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    runner.target = checkout("slow", job("slow"), input=INPUT)
    await runner.run("CLOUDRUN_JOB_SYNC", calls=8, run=True)
    denied = "Permission 'run.executions.cancel' denied on resource"
    cloud.fail("CancelExecutions", 403, {"error": {"code": 403, "message": denied}})
    with pytest.raises(
        Refused, match=r"run\.executions\.cancel.*grant the agent's account roles/run\.developer"
    ):
        await runner.stop("CLOUDRUN_JOB_SYNC", run=True)
