"""Running deployments in the view, before the control plane's records show them."""

from dataclasses import replace
from typing import Any

import pytest

from pipecd import wire
from pipecd.piped.session import view as view_module
from pipecd.piped.session.view import View
from pipecd.schema.agent.applications_pb2 import ListApplicationsResponse
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.git_path_pb2 import ApplicationGitPath, ApplicationGitRepository
from tests.model.samples import deployment
from tests.piped.memory import Calls, memory_client
from tests.piped.recorder import Recorder
from tests.stages.stage_runner import application
from tests.virtual_clock import VirtualClock


async def test_an_application_is_deploying_from_its_first_deployment_to_its_last(recorder: Recorder) -> None:
    client = recorder.client()
    clock = VirtualClock()
    view, first = View(client, clock), deployment()
    app_id = first.application_id
    before = clock.monotonic()
    record = application(first)
    assert not view.had_deployment_since(app_id, before)
    assert not view.with_current_deploying(record).deploying
    view.add_deployment(first)
    view.add_deployment(replace(first, id="second"))
    assert view.deploying_applications == {app_id}
    await clock.advance(10)
    assert view.had_deployment_since(app_id, clock.monotonic())
    assert view.with_current_deploying(record).deploying, "regardless of when the record was read"
    view.mark_finished(first.id)
    assert view.deploying_applications == {app_id}
    view.mark_finished("second")
    assert not view.deploying_applications and not view.with_current_deploying(record).deploying
    assert view.had_deployment_since(app_id, before), "an observation from then may predate the deployment"
    assert not view.had_deployment_since(app_id, clock.monotonic() + 1.0)
    assert not view.had_deployment_since("another application", before)
    await client.close()


def _record(number: int, name: str = "shop", kind: int = 0) -> Application:
    path = ApplicationGitPath(repo=ApplicationGitRepository(id="shop"), path="shop")
    return Application(id=f"app-{number}", name=name, kind=kind, git_path=path, piped_id="p", project_id="j")  # type: ignore[arg-type]


async def test_only_changed_applications_are_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = wire.application_from

    def counted(message: Any) -> Any:
        decoded.append(message.id)
        return decode(message)

    monkeypatch.setattr(view_module, "application_from", counted)
    calls, clock = Calls(), VirtualClock()
    records = [_record(number) for number in range(100)]
    calls.answers["ListApplications"] = lambda request: ListApplicationsResponse(applications=records)
    view = View(memory_client(calls, clock), clock)
    await view.refresh_applications()
    assert len(decoded) == len(view.applications) == 100
    decoded.clear()
    records[5] = _record(5, "renamed")
    del records[7]
    records.append(_record(100))
    await view.refresh_applications()
    assert decoded == ["app-5", "app-100"]
    assert list(view.applications) == [record.id for record in records]
    assert view.applications["app-5"].name == "renamed"
