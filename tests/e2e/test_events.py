"""From a registered event to a commit in Git, and the deployment of that commit."""

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipecd.client import ApiKey, Transport, connect
from pipecd.schema.api.events_pb2 import RegisterEventRequest
from pipecd.schema.model.api_key_pb2 import APIKey
from pipecd.schema.model.event_pb2 import Event, EventStatus
from pipecd.schema.model.kind_pb2 import TERRAFORM
from tests.eventually import eventually
from tests.world import World, pipeline, world

IMAGE = "# The image.\nimage: web:1.0   # set by events\nother: 1\n"


def event_watch(*replacements: Mapping[str, str], name: str = "image", **handler: Any) -> dict[str, Any]:
    config = {"replacements": [dict(replacement) for replacement in replacements], **handler}
    return {"matcher": {"name": name}, "handler": {"type": "GIT_UPDATE", "config": config}}


def application(*watches: Mapping[str, Any]) -> str:
    return pipeline("cat values.yaml", eventWatcher=[dict(watch) for watch in watches])


IN_VALUES = {"file": "values.yaml", "yamlField": "$.image"}


async def register(w: World, data: str, name: str = "image", **fields: Any) -> str:
    """Register an event as a program does. Returns its id."""
    key = (await w.console.call("GenerateAPIKey", name="ci", role=APIKey.READ_WRITE)).key
    client = await connect(w.plane.address, ApiKey(key=key), Transport(insecure=True))
    try:
        request = RegisterEventRequest(name=name, data=data, **fields)
        return (await client.call(client.api.RegisterEvent, request)).event_id
    finally:
        await client.close()


async def handled(w: World, event_id: str) -> Event:
    async def event() -> Event | None:
        response = await w.console.call("ListEvents", page_size=100)
        found = next(event for event in response.events if event.id == event_id)
        return found if found.status != EventStatus.EVENT_NOT_HANDLED else None

    event_ = await eventually(event)
    assert event_
    return event_


def pulled(w: World, path: str) -> str:
    w.clone.git("pull", "--quiet", "--rebase", "origin", "main")
    return (w.clone.path / path).read_text()


async def test_an_event_becomes_a_commit_that_is_deployed(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.agent():
        files = {"app.pipecd.yaml": application(event_watch(IN_VALUES)), "values.yaml": IMAGE}
        app = await w.add_application("shop", files)
        await w.wait_for_deployment(app)
        event_id = await register(w, "web:1.1", commit_hash="c0ffee", contexts={"Pull-Request": "7"})
        event = await handled(w, event_id)
        assert event.status == EventStatus.EVENT_SUCCESS
        text = await asyncio.to_thread(pulled, w, "shop/values.yaml")
        assert text == IMAGE.replace("1.0", "1.1")
        commit = w.clone.git("rev-parse", "HEAD")
        assert event.status_description == f"Set 1 value in shop/values.yaml of main ({commit[:7]})"
        assert w.clone.git("log", "-1", "--format=%B").splitlines() == [
            "Set image to web:1.1",
            "",
            "Pull-Request: 7",
            "Pipecd-Dev-Trace-Trigger-Commit-Hash: c0ffee",
            f"Pipecd-Event: {event_id}",
        ]
        # Without a webhook: the agent notices its own push.
        deployment = await w.wait_for_deployment(app, commit)
        assert deployment.deployment_trace_commit_hash == "c0ffee"
        await check_traces_of_a_push(w, app)


async def check_traces_of_a_push(w: World, app: str) -> None:
    """Not only the last commit of a push belongs to traces. One of another application does not."""
    sources = ("aaaa", "bbbb", "cccc")
    for source in sources:
        await register(w, "x", name="unwatched", commit_hash=source, commit_url="https://git.example.com/x")
    for source, path in zip(sources, ("shop/a", "other/b", "shop/c"), strict=True):
        w.clone.commit(f"Set\n\nPipecd-Dev-Trace-Trigger-Commit-Hash: {source}", {path: source})
    commit = await w.push("Without a trailer", {"shop/d": "d"})
    deployment = await w.wait_for_deployment(app, commit)
    assert deployment.deployment_trace_commit_hashes == ["cccc", "aaaa"]
    assert deployment.deployment_trace_commit_hash == "cccc"
    traces = (await w.console.call("ListDeploymentTraces", page_size=10)).traces
    deployments = {each.trace.commit_hash: [found.id for found in each.deployments] for each in traces}
    assert deployments == {"aaaa": [deployment.id], "bbbb": [], "cccc": [deployment.id]}


async def test_failures_are_reported_and_do_not_stop_other_watches(tmp_path: Path) -> None:
    """Events of different watches share a commit; the older one of two events is outdated."""
    watches = [
        event_watch({"file": "missing.yaml", "yamlField": "$.a"}, name="bad"),
        event_watch(IN_VALUES, name="first"),
        event_watch({"file": "values.yaml", "regex": "other: (.*)"}, name="second"),
        event_watch(
            {"file": "config.json", "jsonField": "$.tag"}, name="own", commitMessage="Tag {{ .Value }}"
        ),
        event_watch(IN_VALUES, name="proposed", makePullRequest=True),
    ]
    shared = {
        "apiVersion": "pipecd.dev/v1beta1",
        "kind": "EventWatcher",
        "spec": {
            "events": [
                {"name": "module", "replacements": [{"file": "shop/main.tf", "HCLField": "locals.tag"}]}
            ]
        },
    }
    files = {
        "app.pipecd.yaml": application(*watches),
        "values.yaml": IMAGE,
        "config.json": json.dumps({"tag": "a"}),
        "main.tf": 'locals {\n  tag = "a"\n}\n',
    }
    async with world(tmp_path) as w:
        in_repository = {".pipe/events.yaml": yaml.safe_dump(shared), ".pipe/broken.yaml": "kind: ["}
        in_application = {f"shop/{path}": text for path, text in files.items()}
        await w.push("Watch", {**in_repository, **in_application})
        names = ("first", "bad", "second", "own", "module", "proposed")
        old = await register(w, "web:1.1", name="first")
        ids = {name: await register(w, f"{name}:2", name=name) for name in names}
        async with w.agent(eventWatcher={"checkInterval": "1h"}):
            # The watches of the application are known when it is registered.
            await handled(w, ids["module"])
            await w.add_application("shop")
            events = {name: await handled(w, event_id) for name, event_id in ids.items()}
            assert events["bad"].status == EventStatus.EVENT_FAILURE
            assert events["bad"].status_description == (
                "Failed to change shop/missing.yaml: there is no such file; correct the path, or add the file"
            )
            for name in set(names) - {"bad"}:
                assert events[name].status == EventStatus.EVENT_SUCCESS, events[name]
            assert (await handled(w, old)).status == EventStatus.EVENT_OUTDATED
        text = await asyncio.to_thread(pulled, w, "shop/values.yaml")
        assert text == "# The image.\nimage: first:2   # set by events\nother: second:2\n"
        assert (w.clone.path / "shop/config.json").read_text() == '{"tag": "own:2"}'
        assert 'tag = "module:2"' in (w.clone.path / "shop/main.tf").read_text()
        subjects = w.clone.git("log", "--author=piped", "--format=%s").splitlines()
        assert sorted(subjects) == ["Set module to module:2", "Set values of 2 events", "Tag own:2"]
        (branch,) = [line for line in w.clone.git("ls-remote", "origin").splitlines() if "pipecd/" in line]
        assert branch.split("/", 2)[2].startswith("pipecd/shop/proposed-")


async def test_agents_that_watch_the_same_events_write_each_once(tmp_path: Path) -> None:
    """Invariant 19: pushes of two agents and a person converge, and no event is written twice."""
    count = 6
    watches = [
        event_watch({"file": "values.yaml", "yamlField": f"$.v{i}"}, name=f"event-{i}") for i in range(count)
    ]
    files = {
        "app.pipecd.yaml": application(*watches),
        "values.yaml": "".join(f"v{i}: 0\n" for i in range(count)),
    }
    async with world(tmp_path) as w:
        other_id, other_key = await w.plane.register_piped("other")
        other = dataclasses.replace(w, piped_id=other_id, key=other_key, folder=tmp_path / "other")
        other.folder.mkdir()
        async with w.agent(), other.agent():
            await w.add_application("shop", files)
            await other.register("shop", kind=TERRAFORM)
            ids = []
            for i in range(count):
                ids.append(await register(w, f"new-{i}", name=f"event-{i}"))
                await asyncio.to_thread(push_by_hand, w, i)
            for event_id in ids:
                assert (await handled(w, event_id)).status == EventStatus.EVENT_SUCCESS
        values = await asyncio.to_thread(pulled, w, "shop/values.yaml")
        assert values == "".join(f"v{i}: new-{i}\n" for i in range(count))
        trailers = w.clone.git("log", "--format=%(trailers:key=Pipecd-Event,valueonly)").split()
        assert sorted(trailers) == sorted(ids)


def push_by_hand(w: World, number: int) -> None:
    """A person pushes, again after every push of an agent that was faster."""
    w.clone.commit(f"By hand {number}", {f"docs/{number}": "x\n"})
    for _ in range(20):
        w.clone.git("pull", "--quiet", "--rebase", "origin", "main")
        try:
            w.clone.push()
        except AssertionError:
            continue
        return
    raise AssertionError("other pushes were always faster")
