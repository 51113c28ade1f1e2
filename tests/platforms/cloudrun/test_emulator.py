"""The emulated API refuses what Google's documentation says is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipecd.quickstart.cloud_run import CloudRun
from tests.platforms.cloudrun.conftest import SERVICE, job, service
from tests.platforms.cloudrun.schema import check_body

SERVICES = "/apis/serving.knative.dev/v1/namespaces/demo/services"
JOBS = "/apis/run.googleapis.com/v1/namespaces/demo/jobs"
Body = dict[str, Any]


@pytest.fixture
def cloud() -> CloudRun:
    """With the service, whose revision is `shop-a`, and the job."""
    cloud = CloudRun(check_body=check_body)
    body = service("v1")
    body["spec"]["template"]["metadata"] = {"name": "shop-a"}
    assert call(cloud, "POST", SERVICES, body)[0] == 200
    assert call(cloud, "POST", JOBS, job("v1"))[0] == 200
    cloud.settle()
    return cloud


def call(cloud: CloudRun, method: str, url: str, body: Body | None = None) -> tuple[int, str]:
    """Status and message."""
    status, answer = cloud.handle(method, url, json.dumps(body).encode() if body is not None else b"")
    return status, str(answer.get("error", {}).get("message", ""))


def template(body: Body) -> Body:
    found: Body = body["spec"]["template"]
    return found


def set_traffic(*targets: Body) -> Callable[[Body], None]:
    return lambda body: body["spec"].update(traffic=list(targets))


WHOLE = {"revisionName": "shop-a", "percent": 100}
REFUSED: list[tuple[str, Callable[[Body], Any], int, str]] = [
    ("unknown key", lambda b: template(b)["spec"]["containers"][0].update(imag="x"), 400, ".imag is unknown"),
    ("wrong type", lambda b: template(b)["spec"].update(timeoutSeconds="60"), 400, "not of the type integer"),
    (
        "boolean as text",
        lambda b: template(b)["spec"]["containers"][0]["env"][0].update(value=True),
        400,
        "string",
    ),
    ("no image", lambda b: template(b)["spec"]["containers"][0].pop("image"), 400, "needs an image"),
    ("other kind", lambda b: b.update(kind="Job"), 400, "kind and apiVersion must be Service"),
    ("invalid name", lambda b: b["metadata"].update(name="Shop"), 400, "does not match the name in the URL"),
    ("label in capitals", lambda b: b["metadata"].update(labels={"a": "B"}), 400, "is no valid label"),
    (
        "revision of another service",
        lambda b: template(b).update(metadata={"name": "other-a"}),
        400,
        "begin with",
    ),
    (
        "name that is too long",
        lambda b: template(b).update(metadata={"name": "shop-" + "a" * 60}),
        400,
        "valid name",
    ),
    (
        "percents below 100",
        set_traffic({"revisionName": "shop-a", "percent": 99}),
        400,
        "add up to 100, not 99",
    ),
    ("percents above 100", set_traffic(WHOLE, {"latestRevision": True, "percent": 1}), 400, "not 101"),
    (
        "negative percent",
        set_traffic(WHOLE, {"latestRevision": True, "percent": -1}),
        400,
        "between 0 and 100",
    ),
    ("missing revision", set_traffic({"revisionName": "shop-b", "percent": 100}), 400, "does not exist"),
    ("no target", set_traffic({"percent": 100}), 400, "exactly one of revisionName and latestRevision"),
    ("a tag twice", set_traffic({**WHOLE, "tag": "a"}, {"latestRevision": True, "tag": "a"}), 400, "unique"),
    ("a tag that is too long", set_traffic({**WHOLE, "tag": "a" * 50}), 400, "no valid tag, or too long"),
    ("outdated version", lambda b: b["metadata"].update(resourceVersion="AAX0"), 409, "Conflict"),
    (
        "other template of a name",
        lambda b: (
            template(b).update(metadata={"name": "shop-a"}),
            template(b)["spec"].update(timeoutSeconds=9),
        ),
        409,
        "different configuration already exists",
    ),
]


@pytest.mark.parametrize(
    ("change", "status", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
@pytest.mark.parametrize("dry", [False, True], ids=["", "dry run"])
def test_a_body_is_refused(
    cloud: CloudRun, change: Callable[[Body], Any], status: int, message: str, dry: bool
) -> None:
    body = service("v1")
    change(body)
    before = cloud.dump()
    found = call(cloud, "PUT", f"{SERVICES}/{SERVICE}" + ("?dryRun=all" if dry else ""), body)
    assert found[0] == status and message in found[1]
    assert cloud.dump() == before


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", f"{SERVICES}/other", 404),
        ("PUT", f"{SERVICES}/other", 400),
        ("POST", SERVICES, 409),
        ("GET", SERVICES.replace("serving.knative.dev", "run.googleapis.com"), 404),
        ("GET", f"{SERVICES}?labelSelector=a in (b)", 400),
        ("DELETE", SERVICES.replace("services", "revisions/shop-a"), 400),
        ("POST", f"{JOBS}/report:cancel", 404),
        ("POST", JOBS.replace("jobs", "executions/other:cancel"), 404),
        ("PUT", SERVICES.replace("services", "revisions/shop-a"), 404),
    ],
)
def test_a_call_is_refused(cloud: CloudRun, method: str, url: str, status: int) -> None:
    body = service("v1") if method in ("POST", "PUT") and ":cancel" not in url else {}
    assert call(cloud, method, url, body)[0] == status


def test_a_dry_run_changes_nothing_and_answers_with_defaults(cloud: CloudRun) -> None:
    before = json.dumps(cloud.objects)
    status, answer = cloud.handle(
        "PUT", f"{SERVICES}/{SERVICE}?dryRun=all", json.dumps(service("v2")).encode()
    )
    assert status == 200 and json.dumps(cloud.objects) == before
    assert answer["spec"]["template"]["spec"]["timeoutSeconds"] == 300
