"""Running deployments in the view, before the control plane's records show them."""

from dataclasses import replace

from pipecd.piped.session.view import View
from tests.model.samples import deployment
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
