"""What is known of deployments under way, before the control plane's records say so."""

import time
from dataclasses import replace

from pipecd.piped.session.view import View
from tests.model.samples import deployment
from tests.piped.recorder import Recorder
from tests.stages.play import application


async def test_an_application_is_at_work_from_its_first_deployment_to_its_last(recorder: Recorder) -> None:
    client = recorder.client()
    view, one = View(client), deployment()
    before = time.monotonic()
    record = application(one)
    assert not view.deployed_since(one.application_id, before) and not view.known(record).deploying
    view.created(one)
    view.created(replace(one, id="another"))
    assert view.at_work == {one.application_id}
    assert view.deployed_since(one.application_id, time.monotonic())
    assert view.known(record).deploying, "whenever the record was read"
    view.finished(one.id)
    assert view.at_work == {one.application_id}
    view.finished("another")
    assert not view.at_work and not view.known(record).deploying
    assert view.deployed_since(one.application_id, before), "what was seen then may be of before"
    assert not view.deployed_since(one.application_id, time.monotonic() + 1.0)
    assert not view.deployed_since("somebody else", before)
    await client.close()
