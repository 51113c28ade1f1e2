"""The stages of a service against the emulated API: order, traffic, names, tags, conflicts, failures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipecd.model.stage import CANDIDATE_URL
from pipecd.quickstart.cloud_run import Call, CloudRun
from tests.platforms.aws.stage_runner import AwsRunner, assert_succeeded, failure_text
from tests.platforms.cloudrun.conftest import SERVICE, service, shares, tags

Checkout = Callable[..., Path]


async def deployed(runner: AwsRunner) -> AwsRunner:
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    return runner


async def test_the_first_deployment_creates_the_service(cloud: CloudRun, runner: AwsRunner) -> None:
    done = assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    assert done.note == "All traffic goes to revision shop-v1-commit"
    assert shares(cloud) == {"v1": 100}
    live = cloud.objects["services"][SERVICE]["metadata"]["labels"]
    assert {key: value for key, value in live.items() if key.startswith("pipecd")} == {
        "pipecd-dev-managed-by": "piped",
        "pipecd-dev-piped": "piped-1",
        "pipecd-dev-application": "app-1",
        "pipecd-dev-commit-hash": "commit-v1",
    }
    revision = cloud.objects["revisions"]["shop-v1-commit"]["metadata"]["labels"]
    assert revision["pipecd-dev-revision-name"] == "shop-v1-commit"


async def test_a_revision_gets_traffic_only_when_it_is_ready(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    sent: list[list[dict[str, Any]]] = []
    check = cloud.after_change

    def record(call: Call) -> None:
        assert check is not None
        check(call)
        sent.append(call.body["spec"]["traffic"])

    cloud.after_change = record
    done = assert_succeeded(await runner.next_deployment(checkout("v2")).run("CLOUDRUN_SYNC"))
    created, moved = sent
    assert created == [
        {"revisionName": "shop-v1-commit", "percent": 100},
        {"revisionName": done.note.split()[-1], "percent": 0, "tag": "pipecd-commit"},
    ]
    assert [target["percent"] for target in moved] == [100]
    assert shares(cloud) == {"v2": 100} and tags(cloud) == {}


async def test_a_promotion_in_steps(cloud: CloudRun, runner: AwsRunner, checkout: Checkout) -> None:
    await deployed(runner)
    runner = runner.next_deployment(checkout("v2"))
    seen = []
    for number, percent in enumerate((0, 10, 50, 100)):
        done = assert_succeeded(await runner.run("CLOUDRUN_PROMOTE", stage_id=f"p{number}", percent=percent))
        assert done.saved == {"promote-percentage": f"{percent}"}
        seen.append(shares(cloud))
    assert seen == [{"v1": 100}, {"v2": 10, "v1": 90}, {"v2": 50, "v1": 50}, {"v2": 100}]
    assert len(cloud.objects["revisions"]) == 2
    assert runner.shared[CANDIDATE_URL] == "https://pipecd-commit---shop-abc123.a.run.app"
    assert tags(cloud) == {}


@pytest.mark.parametrize("tag", ["broken", "broken-again"])
async def test_a_revision_that_fails_gets_no_traffic(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout, tag: str
) -> None:
    await deployed(runner)
    runner = runner.next_deployment(checkout(tag))
    text = failure_text(await runner.run("CLOUDRUN_SYNC"))
    assert "is not ready: The user-provided container failed to start" in text
    assert "see its logs at https://console.cloud.google.com/logs" in text
    assert shares(cloud) == {"v1": 100}
    done = assert_succeeded(await runner.run("ROLLBACK"))
    assert done.note == "The traffic is as before the deployment: 100 % to shop-v1-commit"
    assert shares(cloud) == {"v1": 100} and tags(cloud) == {}
    assert cloud.objects["services"][SERVICE]["spec"]["template"]["metadata"]["name"] == "shop-v1-commit"


async def test_a_rollback_restores_a_split_with_one_call(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    runner = runner.next_deployment(checkout("v2"))
    assert_succeeded(await runner.run("CLOUDRUN_PROMOTE", percent=30))
    await _approve_as_it_is(cloud, runner)
    later = runner.next_deployment(checkout("v3"))
    assert_succeeded(await later.run("CLOUDRUN_PROMOTE", percent=50))
    assert shares(cloud) == {"v3": 50, "v1": 35, "v2": 15}
    before = len(cloud.calls)
    assert_succeeded(await later.run("ROLLBACK"))
    assert shares(cloud) == {"v1": 70, "v2": 30}
    changes = [call for call in cloud.calls[before:] if call.changes]
    assert changes[0].body["spec"]["traffic"] == [
        {"revisionName": "shop-v1-commit", "percent": 70},
        {"revisionName": runner.shared["pipecd/cloudrun-revision"], "percent": 30},
    ]


async def _approve_as_it_is(cloud: CloudRun, runner: AwsRunner) -> None:
    """A deployment may end with less than all traffic moved."""
    assert shares(cloud) == {"v2": 30, "v1": 70}


async def test_a_rollback_without_the_old_revision_deploys_again(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    runner = runner.next_deployment(checkout("v2"))
    await deployed(runner)
    del cloud.objects["revisions"]["shop-v1-commit"]
    done = assert_succeeded(await runner.run("ROLLBACK"))
    assert done.note == "All traffic goes to revision shop-v1-commit, of the running commit"
    assert shares(cloud) == {"v1": 100}


async def test_a_rollback_before_anything_changed(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    before = len(cloud.calls)
    done = assert_succeeded(await runner.next_deployment(checkout("v2")).run("ROLLBACK"))
    assert done.note == "The deployment had not changed the service"
    assert len(cloud.calls) == before


async def test_tags_of_others_stay(cloud: CloudRun, runner: AwsRunner, checkout: Checkout) -> None:
    await deployed(runner)
    live = cloud.objects["services"][SERVICE]
    live["spec"]["traffic"].append({"revisionName": "shop-v1-commit", "percent": 0, "tag": "review"})
    manifest = service("v2")
    manifest["spec"]["traffic"] = [{"latestRevision": True, "percent": 100, "tag": "newest"}]
    runner = runner.next_deployment(checkout("v2", manifest))
    await deployed(runner)
    revision = runner.shared["pipecd/cloudrun-revision"]
    assert tags(cloud) == {"review": "shop-v1-commit", "newest": revision}
    assert_succeeded(await runner.run("ROLLBACK"))
    assert tags(cloud)["review"] == "shop-v1-commit" and shares(cloud) == {"v1": 100}


async def test_the_same_commit_again_creates_no_revision(cloud: CloudRun, runner: AwsRunner) -> None:
    await deployed(runner)
    again = runner.next_deployment(runner.target)
    await deployed(again)
    assert list(cloud.objects["revisions"]) == ["shop-v1-commit"]


async def test_a_name_that_is_taken_gets_a_number(cloud: CloudRun, runner: AwsRunner, tmp_path: Path) -> None:
    await deployed(runner)
    again = runner.next_deployment(runner.target)
    manifest = (runner.target / "service.yaml").read_text()
    (runner.target / "service.yaml").write_text(manifest.replace("info", "debug"))
    await deployed(again)
    assert list(cloud.objects["revisions"]) == ["shop-v1-commit", "shop-v1-commit-2"]


async def test_a_pinned_name_that_is_taken_is_refused(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    manifest = service("v2")
    manifest["spec"]["template"]["metadata"] = {"name": "shop-v1-commit"}
    await deployed(runner)
    text = failure_text(await runner.next_deployment(checkout("v2", manifest)).run("CLOUDRUN_SYNC"))
    assert (
        "the revision shop-v1-commit exists with another template; change spec.template.metadata.name" in text
    )


async def test_a_concurrent_change_is_not_overwritten(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    body = {"error": {"code": 409, "status": "ABORTED", "message": "Conflict for resource 'shop'"}}
    cloud.fail("ReplaceServices", 409, body)
    runner = runner.next_deployment(checkout("v2"))
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    versions = [call.body["metadata"].get("resourceVersion") for call in cloud.calls if call.changes]
    assert versions[0] is None and all(versions[1:]), "every update names the version that was read"


async def test_a_change_between_reading_and_writing_is_kept(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    """At each update of the deployment, another program sets a tag first."""
    await deployed(runner)
    added: list[str] = []

    def set_tag(call: Call, after: bool) -> None:
        if call.name == "ReplaceServices" and not after and len(added) < 3:
            live = cloud.objects["services"][SERVICE]
            added.append(f"review-{len(added)}")
            point = {"revisionName": "shop-v1-commit", "percent": 0, "tag": added[-1]}
            live["spec"]["traffic"].append(point)
            live["status"]["traffic"].append(point)
            live["metadata"]["resourceVersion"] += "x"

    cloud.intercept = set_tag
    runner = runner.next_deployment(checkout("v2"))
    assert_succeeded(await runner.run("CLOUDRUN_PROMOTE", percent=40))
    assert shares(cloud) == {"v2": 40, "v1": 60}
    assert set(tags(cloud)) == {*added, "pipecd-commit"} and len(added) == 3
    assert_succeeded(await runner.run("ROLLBACK"))
    assert shares(cloud) == {"v1": 100} and set(tags(cloud)) == set(added)


@pytest.mark.parametrize("calls", range(1, 11))
@pytest.mark.parametrize("stage", ["CLOUDRUN_SYNC", "CLOUDRUN_PROMOTE"])
async def test_a_stage_that_is_cancelled_at_any_step_is_rolled_back(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout, stage: str, calls: int
) -> None:
    await deployed(runner)
    runner = runner.next_deployment(checkout("v2"))
    options: dict[str, Any] = {"percent": 50} if stage == "CLOUDRUN_PROMOTE" else {}
    await runner.run(stage, calls=calls, **options)
    assert_succeeded(await runner.run("ROLLBACK"))
    cloud.settle()
    assert shares(cloud) == {"v1": 100} and tags(cloud) == {}
    again = runner.next_deployment(checkout("v3"))
    again.running = again.running and runner.running
    assert_succeeded(await again.run("CLOUDRUN_SYNC"))
    assert shares(cloud) == {"v3": 100}


async def test_revisions_with_traffic_stay(cloud: CloudRun, runner: AwsRunner, checkout: Checkout) -> None:
    """A deployment may end with less than all traffic moved; then none is deleted."""
    spec = {"input": {"keepRevisions": 0}}
    runner.target = checkout("first", service("v1"), **spec)
    await deployed(runner)
    for name in ("v2", "v3"):
        runner = runner.next_deployment(checkout(name, **spec))
        assert_succeeded(await runner.run("CLOUDRUN_PROMOTE", percent=50))
    assert shares(cloud) == {"v3": 50, "v2": 25, "v1": 25}
    runner = runner.next_deployment(checkout("v4", **spec))
    await deployed(runner)
    assert len(cloud.objects["revisions"]) == 1, "when the others have no traffic any more"


async def test_revisions_of_others_stay(cloud: CloudRun, runner: AwsRunner, checkout: Checkout) -> None:
    await deployed(runner)
    del cloud.objects["revisions"]["shop-v1-commit"]["metadata"]["labels"]["pipecd-dev-application"]
    for name in ("v2", "v3"):
        runner = runner.next_deployment(checkout(name, input={"keepRevisions": 0}))
        await deployed(runner)
    assert [name.split("-")[1] for name in cloud.objects["revisions"]] == ["v1", "v3"]


async def test_answers_of_any_length_are_cut(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deployed(runner)
    monkeypatch.setattr("pipecd.quickstart.cloud_run._message", lambda revision: "y" * 100_000)
    status = cloud._revision_status

    def long_status(revision: dict[str, Any]) -> dict[str, Any]:
        answer = status(revision)
        answer["conditions"][0]["message"] = "x" * 1_000_000
        return {**answer, "logUrl": "https://" + "z" * 1_000_000}

    cloud._revision_status = long_status  # type: ignore[method-assign]
    text = failure_text(await runner.next_deployment(checkout("broken")).run("CLOUDRUN_SYNC"))
    assert len(text) < 5000


async def test_traffic_that_another_program_changes_again_and_again(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)

    def change_back(call: Call) -> None:
        if call.name == "ReplaceServices":
            live = cloud.objects["services"][SERVICE]
            live["spec"]["traffic"] = [{"revisionName": "shop-v1-commit", "percent": 100}]

    cloud.after_change = change_back
    text = failure_text(await runner.next_deployment(checkout("v2")).run("CLOUDRUN_SYNC"))
    assert "after 5 updates of the traffic of shop" in text and "find out what else changes" in text


async def test_a_service_of_another_application_is_refused(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    cloud.objects["services"][SERVICE]["metadata"]["labels"]["pipecd-dev-application"] = "app-2"
    text = failure_text(await runner.next_deployment(checkout("v2")).run("CLOUDRUN_SYNC"))
    assert "the service shop belongs to the application app-2; rename the service" in text
    assert shares(cloud) == {"v1": 100}


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (
            403,
            "Permission 'run.services.get' denied on resource",
            "grant the agent's account roles/run.developer",
        ),
        (
            403,
            "Permission 'iam.serviceaccounts.actAs' denied",
            "grant the agent's account roles/iam.serviceAcc",
        ),
        (
            403,
            "Cloud Run Admin API has not been used in project 1 before or it is disabled",
            "enable the API",
        ),
        (401, "Request had invalid authentication credentials.", "check the provider's credentialsFile"),
        (400, "spec.template: bad value", "Google refuses the service shop: spec.template: bad value"),
    ],
)
async def test_an_error_of_google_is_described(
    cloud: CloudRun, runner: AwsRunner, status: int, message: str, expected: str
) -> None:
    cloud.fail("GetServices", status, {"error": {"code": status, "message": message, "status": "X"}})
    assert expected in failure_text(await runner.run("CLOUDRUN_SYNC"))


async def test_an_outage_is_waited_for(cloud: CloudRun, runner: AwsRunner) -> None:
    for status in (429, 500, 503):
        cloud.fail("CreateServices", status, {"error": {"message": "try again"}})
    assert_succeeded(await runner.run("CLOUDRUN_SYNC"))
    assert shares(cloud) == {"v1": 100}


async def test_old_revisions_are_deleted_when_asked(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    live = cloud.objects["services"][SERVICE]["spec"]["traffic"]
    live.append({"revisionName": "shop-v1-commit", "percent": 0, "tag": "review"})
    for name in ("v2", "v3", "v4", "v5"):
        runner = runner.next_deployment(checkout(name, input={"keepRevisions": 1}))
        await deployed(runner)
    images = [item["spec"]["containers"][0]["image"][-2:] for item in cloud.objects["revisions"].values()]
    assert images == ["v1", "v4", "v5"], "with a tag, one that is kept, and with traffic"


async def test_waiting_for_a_revision_is_bounded(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    runner = runner.next_deployment(checkout("slow"))
    await runner.run("CLOUDRUN_SYNC", calls=6)
    runner.waited += 14 * 60
    await runner.run("CLOUDRUN_SYNC", calls=1)
    runner.waited += 2 * 60
    outcome = await runner.run("CLOUDRUN_SYNC", calls=1)
    assert "waited 15 minutes for revision shop-slow-commit to be ready" in failure_text(outcome)
    assert shares(cloud) == {"v1": 100}


async def test_a_revision_that_another_program_creates_meanwhile_is_read_again(
    cloud: CloudRun, runner: AwsRunner, checkout: Checkout
) -> None:
    await deployed(runner)
    body = {"error": {"code": 409, "status": "ALREADY_EXISTS", "message": "Revision named 'x' exists"}}
    cloud.fail("ReplaceServices", 409, body)
    assert_succeeded(await runner.next_deployment(checkout("v2")).run("CLOUDRUN_SYNC"))
    assert shares(cloud) == {"v2": 100}
