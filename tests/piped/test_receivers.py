"""Receivers of notifications: routes, at least once in order across kills, and the forms of each receiver."""

import asyncio
import json
import os
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipecd.clock import SYSTEM_CLOCK, Clock
from pipecd.config import piped
from pipecd.config.application import Mention
from pipecd.config.notifications import Receiver, Route
from pipecd.config.notifications import Slack as SlackConfig
from pipecd.config.notifications import Webhook as WebhookConfig
from pipecd.errors import ConfigError, Refused, Temporary
from pipecd.model.deployment import Deployment
from pipecd.model.notification import (
    CONTROL_PLANE_EVENTS,
    EVENT_TYPES,
    ApplicationBecameUnhealthy,
    ApplicationSynced,
    ApplicationWentOutOfSync,
    ApprovalRequested,
    DeploymentCancelled,
    DeploymentFailed,
    DeploymentStarted,
    DeploymentTriggerFailed,
    EventGroup,
    NotificationEvent,
    PipedStarted,
    StageFailed,
)
from pipecd.notify.delivery import Send
from pipecd.notify.mentions import METADATA_KEY, mentioned, mentions_metadata
from pipecd.notify.message import Message, Tone, message_of
from pipecd.notify.opening import open_receiver
from pipecd.notify.pipecd_json import pipecd_json
from pipecd.notify.routing import matches, receivers_of
from pipecd.notify.sinks.slack import open_slack, render
from pipecd.notify.sinks.webhook import open_webhook
from pipecd.piped.notify.configured import configured_receivers
from pipecd.piped.notify.notifier import Notifier
from pipecd.piped.notify.outbox import Outbox
from pipecd.piped.notify.receivers import Receivers
from pipecd.piped.settings import NotifierSettings
from tests.model.samples import application, commit, deployment, stage
from tests.piped.receiver_server import TOKEN, ReceiverServer, Slack, verify_standard_webhook
from tests.virtual_clock import VirtualClock

SETTINGS = NotifierSettings()
SIGNING_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def started(identity: str, **changes: Any) -> DeploymentStarted:
    return DeploymentStarted(at=1_700_000_000, deployment=replace(deployment(), id=identity, **changes))


def piped_started() -> PipedStarted:
    return PipedStarted(at=1, piped_id="p", piped_name="home", project_id="j", version="v1", instance="i")


def to_message(event: NotificationEvent, _: Sequence[str] = ()) -> Message:
    address = "https://pipecd.example.com"
    return message_of(event, piped="p", project="j", web_address=address, pipecd=pipecd_json(event))


# ---- Routes

SHOP = {"application_name": "shop", "kind": "KUBERNETES", "labels": {"env": "prod", "team": ""}}
ROUTES = [
    ({}, True),
    ({"events": ["DEPLOYMENT_STARTED"]}, True),
    ({"events": ["EVENT_DEPLOYMENT_STARTED"]}, True),
    ({"events": ["DEPLOYMENT_FAILED"]}, False),
    ({"groups": ["DEPLOYMENT"], "events": ["DEPLOYMENT_FAILED"]}, False),
    ({"groups": ["STAGE"]}, False),
    ({"ignoreEvents": ["DEPLOYMENT_STARTED"], "events": ["DEPLOYMENT_STARTED"]}, False),
    ({"ignoreGroups": ["DEPLOYMENT"]}, False),
    ({"apps": ["shop", "blog"]}, True),
    ({"apps": ["blog"]}, False),
    ({"ignoreApps": ["shop"]}, False),
    ({"labels": {"env": "prod"}}, True),
    ({"labels": {"env": "prod", "team": "web"}}, False),
    ({"ignoreLabels": {"env": "prod", "team": "web"}}, False),
    # PipeCD drops the event, because its label `team` is empty.
    ({"ignoreLabels": {"owner": "ada"}}, True),
    ({"kinds": ["KUBERNETES"]}, True),
    ({"kinds": ["TERRAFORM"]}, False),
    ({"ignoreKinds": ["KUBERNETES"]}, False),
]


@pytest.mark.parametrize(("conditions", "expected"), ROUTES, ids=[json.dumps(case) for case, _ in ROUTES])
def test_routes_select_events(conditions: dict[str, Any], expected: bool) -> None:
    route = Route.model_validate({"receiver": "r", **conditions})
    assert matches(route, started("a", **SHOP)) is expected


def test_applications_do_not_restrict_events_without_one() -> None:
    conditions = {"apps": ["x"], "labels": {"a": "b"}, "kinds": ["ECS"], "ignoreApps": ["home"]}
    assert matches(Route.model_validate({"receiver": "r", **conditions}), piped_started())


NAMES = st.sampled_from(sorted(EVENT_TYPES))
GROUPS = st.sampled_from([group.value for group in EventGroup])
LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["", "x", "y"]), max_size=2)
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "events": st.lists(NAMES, max_size=3),
    "groups": st.lists(GROUPS, max_size=2),
    "apps": st.lists(st.sampled_from(["shop", "blog"]), max_size=2),
    "kinds": st.lists(st.sampled_from(["ECS", "LAMBDA"]), max_size=1),
    "labels": LABELS,
}


@given(
    wanted=st.fixed_dictionaries(CONDITIONS),
    ignored=st.fixed_dictionaries(CONDITIONS),
    name=st.sampled_from(["shop", "blog"]),
    kind=st.sampled_from(["ECS", "LAMBDA"]),
    labels=LABELS,
)
def test_every_condition_only_narrows_a_route(
    wanted: dict[str, Any], ignored: dict[str, Any], name: str, kind: str, labels: dict[str, str]
) -> None:
    """A route matches exactly if each of its conditions alone does."""
    event = started("a", application_name=name, kind=kind, labels=labels)
    conditions = wanted | {f"ignore{key.capitalize()}": value for key, value in ignored.items()}

    def match(values: dict[str, Any]) -> bool:
        return matches(Route.model_validate({"receiver": "r", **values}), event)

    assert match(conditions) == all(match({key: value}) for key, value in conditions.items())
    for key, value in wanted.items():
        if value and not isinstance(value, dict):
            # A list and its exclusion share no event.
            assert not (match({key: value}) and match({f"ignore{key.capitalize()}": value}))


def test_a_receiver_gets_an_event_once() -> None:
    routes = [Route(receiver="a"), Route(receiver="b"), Route(receiver="a")]
    assert receivers_of(started("a"), routes) == ["a", "b"]


ERRORS = [
    ("routes: [{receiver: r, events: [DEPLOYMENT_SUCCEDED]}]", "did you mean DEPLOYMENT_SUCCEEDED?"),
    ("routes: [{receiver: r, ignoreGroups: [DEPLOY]}]", "there is no group 'DEPLOY'"),
    ("routes: [{receiver: r, events: [PIPED_OFFLINE]}]", "is an event of the control plane"),
    ("routes: [{receiver: other}]", "there is no receiver 'other'"),
    ("routes: []", "", "{name: r}", "exactly one of slack, webhook, email and apprise"),
    ("routes: []", "", "{name: r, slack: {oauthTokenFile: f}}", "channelID is required"),
    ("routes: []", "", "{name: r, slack: {hookURL: 'https://u', oauthToken: t}}", "exactly one of hookURL"),
    (
        "routes: []",
        "",
        "{name: r, webhook: {url: 'ftp://a'}}",
        "url: must be a URL that begins with https://",
    ),
    (
        "routes: []",
        "",
        "{name: r, webhook: {url: 'https://a', signatureValue: a, signatureValueFile: b}}",
        "only one of signatureValue",
    ),
]


@pytest.mark.parametrize("case", ERRORS, ids=[case[-1] for case in ERRORS])
def test_wrong_configuration_is_an_error_at_the_start(case: tuple[str, ...]) -> None:
    receiver = case[2] if len(case) > 2 else "{name: r, webhook: {url: 'https://a'}}"
    text = (
        "apiVersion: pipecd.dev/v1beta1\nkind: Piped\nspec:\n  projectID: p\n  pipedID: i\n"
        "  pipedKeyData: eA==\n  apiAddress: a:1\n"
        f"  notifications: {{{case[0]}, receivers: [{receiver}]}}\n"
    )
    with pytest.raises(ConfigError) as error:
        piped.load(text, "piped.yaml")
    assert case[-1] in str(error.value) and "piped.yaml:8" in str(error.value)


# ---- Outbox and delivery


class Recorder:
    """A receiver that fails with the errors of `errors` first, and records the rest."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.keys = list(errors), list[str]()
        self.attempts = 0

    async def __call__(self, message: Message) -> None:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        self.keys.append(message.key.split("/")[0])


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "notifications.db", max_waiting=1000, max_keys=1000)
    yield box
    box.close()


def receivers(outbox: Outbox, clock: Clock, **sinks: Send) -> Receivers:
    routes = [Route(receiver=name) for name in sinks]
    return Receivers(sinks, routes, outbox, to_message, clock, SETTINGS)


async def test_a_failed_message_is_repeated_in_order_and_for_a_day(outbox: Outbox) -> None:
    clock, sink = VirtualClock(), Recorder(*(Temporary("away") for _ in range(5)))
    other = Recorder()
    deliveries = receivers(outbox, clock, sink=sink, other=other)
    task = asyncio.create_task(deliveries.run())
    deliveries.add(started("a"))
    deliveries.add(started("b"))
    await clock.advance(0)
    assert other.keys == ["a", "b"] and sink.keys == []
    assert outbox.results()["sink"].error == "away" and outbox.results()["other"].error == ""
    await clock.advance(2 + 4 + 8 + 16 + 32)
    assert sink.keys == ["a", "b"] and sink.attempts == 7
    sink.errors = [Temporary("away") for _ in range(1000)]
    deliveries.add(started("c"))
    await clock.advance(SETTINGS.max_age + 1200)
    sink.errors = []
    deliveries.add(started("d"))
    await clock.advance(600)
    assert sink.keys == ["a", "b", "d"]
    task.cancel()
    await asyncio.wait([task])


async def test_retry_after_is_obeyed_and_a_refusal_blocks_nothing(outbox: Outbox) -> None:
    clock = VirtualClock()
    sink = Recorder(Temporary("slow down", after=100.0), Refused("no such channel"))
    deliveries = receivers(outbox, clock, sink=sink)
    task = asyncio.create_task(deliveries.run())
    deliveries.add(started("a"))
    deliveries.add(started("b"))
    await clock.advance(99)
    assert sink.attempts == 1
    await clock.advance(1)
    assert sink.keys == ["b"]
    task.cancel()
    await asyncio.wait([task])


async def test_a_receiver_that_hangs_delays_no_other_and_no_emitter(outbox: Outbox) -> None:
    async def hangs(message: Message) -> None:
        await asyncio.Event().wait()

    clock, other = VirtualClock(), Recorder()
    deliveries = receivers(outbox, clock, hangs=hangs, other=other)
    notifier = Notifier({}, lambda text: text, clock, SETTINGS, deliveries)
    task = asyncio.create_task(notifier.run())
    for number in range(50):
        notifier(started(str(number)))
    await clock.advance(0)
    assert len(other.keys) == 50
    await clock.advance(SETTINGS.delivery_timeout)
    assert "it took longer than 30 s" in outbox.results()["hangs"].error
    task.cancel()
    await asyncio.wait([task])


async def test_an_outbox_that_fails_stops_no_agent(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sink = VirtualClock(), Recorder()
    deliveries = receivers(outbox, clock, sink=sink)

    def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(outbox, "add", full)
        deliveries.add(started("lost"))
    deliveries.add(started("a"))
    with monkeypatch.context() as broken:
        broken.setattr(outbox, "finish", full)
        task = asyncio.create_task(deliveries.run())
        await clock.advance(0)
    await clock.advance(60)
    # It could not be marked, so it is sent again.
    assert sink.keys == ["a", "a"] and not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_a_shutdown_does_not_repeat_what_is_being_sent(outbox: Outbox) -> None:
    answer, keys = asyncio.Event(), list[str]()

    async def slow(message: Message) -> None:
        keys.append(message.key.split("/")[0])
        await answer.wait()

    clock = VirtualClock()
    deliveries = receivers(outbox, clock, slow=slow)
    task = asyncio.create_task(deliveries.run())
    deliveries.add(started("a"))
    deliveries.add(started("b"))
    await clock.advance(0)
    task.cancel()
    await asyncio.wait([task])
    flush = asyncio.create_task(deliveries.flush())
    await clock.advance(0)
    answer.set()
    await flush
    assert keys == ["a", "b"]


async def test_an_event_that_is_reported_again_after_a_restart_is_sent_once(tmp_path: Path) -> None:
    sink = Recorder()
    for _ in range(2):
        outbox = Outbox(tmp_path / "n.db", max_waiting=10, max_keys=10)
        deliveries = receivers(outbox, SYSTEM_CLOCK, sink=sink)
        deliveries.add(started("a"))
        await deliveries.flush()
        outbox.close()
    assert sink.keys == ["a"]


async def test_the_oldest_of_too_many_messages_are_given_up(tmp_path: Path) -> None:
    outbox, sink = Outbox(tmp_path / "n.db", max_waiting=3, max_keys=5), Recorder()
    deliveries = receivers(outbox, SYSTEM_CLOCK, sink=sink)
    for number in range(20):
        deliveries.add(started(str(number)))
    await deliveries.flush()
    assert sink.keys == ["17", "18", "19"]
    assert outbox._database.execute("SELECT count(*) FROM messages").fetchone()[0] <= 6
    outbox.close()


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "n.db"
    file.write_bytes(b"not a database" * 1000)
    outbox = Outbox(file, max_waiting=3, max_keys=5)
    outbox.add("r", "k", "{}", 1.0)
    assert outbox.count("r") == 1 and (tmp_path / "n.damaged").exists()
    outbox.close()


def in_killed_process(work: Callable[[], None]) -> None:
    """Runs `work` in a process of its own, which is expected to be killed."""
    if not (child := os.fork()):
        signal.alarm(60)
        with suppress(BaseException):
            work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "the process was not killed"


@pytest.mark.parametrize("point", ["emitted", "sending", "sent"])
def test_a_kill_loses_no_message_and_repeats_at_most_one(tmp_path: Path, point: str) -> None:
    file, received = tmp_path / "n.db", tmp_path / "received"

    async def kill(message: Message) -> None:
        if point == "sending" and message.key.startswith("1/"):
            os.kill(os.getpid(), signal.SIGKILL)
        with received.open("a") as stream:
            stream.write(f"{message.key}\n")
        if point == "sent" and message.key.startswith("1/"):
            os.kill(os.getpid(), signal.SIGKILL)

    def emit() -> None:
        deliveries = receivers(Outbox(file, max_waiting=10, max_keys=10), SYSTEM_CLOCK, sink=kill)
        for number in range(3):
            deliveries.add(started(str(number)))
        if point == "emitted":
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(deliveries.flush())

    in_killed_process(emit)
    outbox = Outbox(file, max_waiting=10, max_keys=10)
    before = received.read_text().split() if received.exists() else []
    sink = Recorder()
    asyncio.run(receivers(outbox, SYSTEM_CLOCK, sink=sink).flush())
    outbox.close()
    keys = [key.split("/")[0] for key in before] + sink.keys
    assert (
        keys == {"emitted": ["0", "1", "2"], "sending": ["0", "1", "2"], "sent": ["0", "1", "1", "2"]}[point]
    )


# ---- Forms


def some_of_each() -> list[NotificationEvent]:
    """One event of each group and form."""
    planned: Deployment = deployment()
    state: Mapping[str, Any] = {
        "at": 1,
        "application": application(),
        "summary": "2 resources differ",
        "reason": "password: x",
    }
    return [
        started("d"),
        DeploymentFailed(at=1, deployment=planned, reason="quota"),
        DeploymentCancelled(at=1, deployment=planned, reason="", commander="ada"),
        ApprovalRequested(at=1, deployment=planned, stage=stage(), approvers=["ada", "grace"]),
        DeploymentTriggerFailed(at=1, application=application(), commit=commit(), reason="bad file"),
        StageFailed(at=1, deployment=planned, stage=stage(reason="timeout")),
        ApplicationSynced(**state),
        ApplicationWentOutOfSync(**state),
        ApplicationBecameUnhealthy(**state),
        piped_started(),
    ]


@pytest.mark.parametrize("event", some_of_each(), ids=lambda event: str(event.name))
def test_every_event_becomes_a_message_that_can_be_stored(event: NotificationEvent) -> None:
    message = to_message(event)
    assert Message.from_json(message.to_json()) == message
    assert "{" not in message.title and "password" not in message.to_json()
    assert isinstance(json.loads(message.pipecd)["Type"], int)


def test_every_event_has_a_title() -> None:
    from pipecd.notify.message import _TITLES

    assert set(_TITLES) == {*EVENT_TYPES, *CONTROL_PLANE_EVENTS}


def agent_spec(notifications: Mapping[str, Any]) -> piped.PipedSpec:
    return piped.PipedSpec.model_validate(
        {
            "projectID": "j",
            "pipedID": "p",
            "pipedKeyFile": "k",
            "apiAddress": "a:1",
            "notifications": notifications,
        }
    )


def test_pipecds_json_is_made_for_webhooks_that_get_it_alone(tmp_path: Path) -> None:
    webhook = {"url": "https://hooks.example.com"}
    notifications = {
        "receivers": [
            {"name": "plain", "webhook": webhook},
            {"name": "cloud", "webhook": {**webhook, "format": "cloudevents"}},
        ],
        "routes": [{"receiver": "plain", "groups": ["PIPED"]}, {"receiver": "cloud"}],
    }
    spec = agent_spec(notifications)
    file = tmp_path / "n.db"
    with configured_receivers(spec, "", file, lambda _: None, SYSTEM_CLOCK, SETTINGS) as opened:
        assert opened
        opened.add(started("d"))
        opened.add(piped_started())
    with closing(sqlite3.connect(file)) as database:
        bodies = [json.loads(body) for (body,) in database.execute("SELECT body FROM messages ORDER BY id")]
    # The deployment goes to one receiver, the start of the agent to both.
    assert [bool(body["pipecd"]) for body in bodies] == [False, True, True]


def test_a_file_of_a_receiver_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    webhook = {"url": "http://127.0.0.1:1", "signatureValueFile": "/nowhere"}
    receivers = [{"name": "ok", "webhook": {"url": webhook["url"]}}, {"name": "hook", "webhook": webhook}]
    spec = agent_spec({"receivers": receivers})
    message = re.escape(
        "spec.notifications.receivers[1]: the receiver hook: signatureValueFile: /nowhere cannot"
    )
    with (
        pytest.raises(ConfigError, match=message),
        configured_receivers(spec, "", tmp_path / "n.db", lambda _: None, SYSTEM_CLOCK, SETTINGS),
    ):
        pass


MENTIONS = {
    "mentions": [
        {"event": "DEPLOYMENT_FAILED", "slack": ["U1"], "slackUsers": ["@U2"], "slackGroups": ["S1"]},
        {"event": "*", "slackUsers": ["U3", "U1"]},
    ]
}


def test_the_file_of_an_application_mentions_people() -> None:
    mentions = [Mention.model_validate(entry) for entry in MENTIONS["mentions"]]
    shared = mentions_metadata(mentions, "shop")
    deployed = replace(deployment(), shared=shared)
    failed = DeploymentFailed(at=1, deployment=deployed, reason="")
    assert mentioned(failed) == (("U1", "@U2", "U3"), ("S1",))
    assert mentioned(DeploymentStarted(at=1, deployment=deployed)) == (("U3", "U1"), ())
    assert mentioned(StageFailed(at=1, deployment=deployed, stage=stage())) == ((), ())
    message = Message.from_json(to_message(failed).to_json())
    assert render(message, ["U1"], ["S2"])["text"] == "<@U1> <@U2> <@U3> <!subteam^S2> <!subteam^S1>"
    assert json.loads(message.pipecd)["Metadata"]["mentioned_groups"] == ["S1"]
    too_many = [Mention.model_validate({"event": "*", "slackUsers": ["U" * 1000] * 100})]
    assert mentions_metadata([], "shop") == mentions_metadata(too_many, "shop") == {}


@pytest.mark.parametrize(
    "stored", ["", "[", "[]", '{"mentions": 3}', '{"mentions": ["a", {"event": "*"}]}', "[" * 99999]
)
def test_invalid_mentions_of_another_agent_mention_nobody(stored: str) -> None:
    event = DeploymentStarted(at=1, deployment=replace(deployment(), shared={METADATA_KEY: stored}))
    assert mentioned(event) == ((), ())


def test_an_unknown_event_of_a_mention_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no event 'DEPLOYED'"):
        Mention(event="DEPLOYED")


def test_pipecds_json_has_its_numbers_and_keys() -> None:
    event = DeploymentFailed(at=1, deployment=replace(deployment(), id="d"), reason="quota")
    content = json.loads(pipecd_json(event))
    assert content["Type"] == 5 and content["Metadata"]["reason"] == "quota"
    assert content["Metadata"]["deployment"]["application_name"] == "app"
    assert json.loads(pipecd_json(piped_started())) == {
        "Type": 300,
        "Metadata": {"id": "p", "name": "home", "version": "v1", "project_id": "j"},
    }


async def test_webhook_has_pipecds_header_and_a_standard_signature(tmp_path: Path) -> None:
    (tmp_path / "value").write_text("secret\n")
    with ReceiverServer() as server:
        config = WebhookConfig.model_validate(
            {
                "url": f"{server.url}/hook",
                "signatureValueFile": str(tmp_path / "value"),
                "signingKey": SIGNING_KEY,
            }
        )
        sink = open_webhook(config, SYSTEM_CLOCK)
        message = to_message(started("d"))
        await sink(message)
        await sink(message)
    first, second = server.requests
    assert first.headers["pipecd-signature"] == "secret"
    assert first.body.endswith(b"}\n") and first.json["Type"] == 9
    assert verify_standard_webhook(first, SIGNING_KEY, SYSTEM_CLOCK.now())
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    tampered = replace(first, body=first.body.replace(b"9", b"8", 1))
    assert not verify_standard_webhook(tampered, SIGNING_KEY, SYSTEM_CLOCK.now())


FILES: Mapping[str, Mapping[str, Any]] = {
    "slack.oauthTokenFile": {"channelID": "c"},
    "webhook.signatureValueFile": {"url": "https://a"},
    "webhook.signingKeyFile": {"url": "https://a"},
    "email.passwordFile": {"host": "mail", "username": "u", "from": "a@example.com", "to": ["b@example.com"]},
}


@pytest.mark.parametrize("field", FILES)
def test_secrets_in_files_are_masked(tmp_path: Path, field: str) -> None:
    kind, _, key = field.partition(".")
    (tmp_path / "secret").write_text(f"{SIGNING_KEY}\n")
    config = {"name": "r", kind: {**FILES[field], key: str(tmp_path / "secret")}}
    with closing(Outbox(tmp_path / "n.db", max_waiting=1, max_keys=1)) as outbox:
        _, secrets = open_receiver(Receiver.model_validate(config), outbox, SYSTEM_CLOCK)
    assert SIGNING_KEY in secrets


def test_every_file_of_a_receiver_is_known() -> None:
    """But the addresses of `apprise`, which are masked whole."""
    named = {
        f"{name}.{field.alias}"
        for name, receiver in Receiver.model_fields.items()
        for model in get_args(receiver.annotation)
        if isinstance(model, type) and issubclass(model, BaseModel)
        for key, field in model.model_fields.items()
        if key.endswith("_file")
    }
    assert named == {*FILES, "apprise.urlsFile"}


async def test_webhook_sends_cloud_events() -> None:
    with ReceiverServer() as server:
        sink = open_webhook(WebhookConfig(url=server.url, format="cloudevents"), SYSTEM_CLOCK)
        await sink(to_message(started("d")))
    [request] = server.requests
    event = request.json
    assert request.headers["content-type"].startswith("application/cloudevents+json")
    assert {
        "specversion": "1.0",
        "type": "dev.pipecd.deployment.started",
        "subject": "d",
    }.items() <= event.items()
    assert event["source"] == "/projects/j/pipeds/p" and event["time"] == "2023-11-14T22:13:20Z"
    assert event["data"]["applicationName"] == "app"


ANSWERS = [
    ((429, {"Retry-After": "7"}, ""), Temporary, 7.0),
    ((503, {"Retry-After": "99999999"}, ""), Temporary, 3600.0),
    ((500, {"Retry-After": "soon"}, ""), Temporary, None),
    ((301, {"Location": "http://127.0.0.1:1/"}, ""), Refused, None),
    ((404, {}, "no such hook"), Refused, None),
]


@pytest.mark.parametrize(
    ("reply", "error_type", "after"), ANSWERS, ids=[str(reply[0]) for reply, _, _ in ANSWERS]
)
async def test_answers_decide_whether_a_message_is_repeated(
    reply: Any, error_type: type[Exception], after: float | None
) -> None:
    with ReceiverServer(replies=[reply]) as server:
        sink = open_webhook(WebhookConfig(url=f"{server.url}/T0/secret-path"), SYSTEM_CLOCK)
        with pytest.raises(error_type) as error:
            await sink(to_message(started("d")))
    assert getattr(error.value, "after", None) == after and "secret-path" not in str(error.value)


def test_signing_key_is_checked_at_the_start() -> None:
    for key in ("whsec_%%%", "whsec_c2hvcnQ="):
        with pytest.raises(ConfigError, match="signingKey"):
            open_webhook(WebhookConfig.model_validate({"url": "https://a", "signingKey": key}), SYSTEM_CLOCK)


async def test_bot_of_slack_has_one_thread_per_deployment(outbox: Outbox, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    slack = Slack("C1")
    with ReceiverServer(slack) as server:
        config = SlackConfig.model_validate(
            {
                "oauthTokenFile": str(tmp_path / "token"),
                "channelID": "C1",
                "apiURL": f"{server.url}/api/",
            }
        )
        sink = open_slack("r", config, outbox)
        for event in (
            started("a"),
            started("b"),
            StageFailed(at=1, deployment=started("a").deployment, stage=stage()),
        ):
            await sink(to_message(event))
        await sink(to_message(piped_started()))
        server.replies = [(429, {"Retry-After": "30"}, "")]
        with pytest.raises(Temporary) as error:
            await sink(to_message(started("c")))
        wrong = open_slack("r", config.model_copy(update={"channel_id": "C2"}), outbox)
        with pytest.raises(Refused, match="channel_not_found"):
            await wrong(to_message(started("c")))
    assert error.value.after == 30.0
    assert [message.get("thread_ts") for message in slack.messages] == [
        None,
        None,
        slack.messages[0]["ts"],
        None,
    ]


async def test_hook_of_slack_mentions_people_and_escapes_everything_else() -> None:
    config = SlackConfig.model_validate(
        {
            "hookURL": "https://hook.example.com",
            "mentionedAccounts": ["@U1", "U2"],
            "mentionedGroups": ["<!subteam^S1>", "S2"],
        }
    )
    event = DeploymentFailed(at=1, deployment=deployment(), reason="<!channel> a & b")
    with ReceiverServer(answer=lambda _: (200, {}, "ok")) as server:
        update = {"hook_url": f"{server.url}/services/T/B/x"}
        await open_slack("r", config.model_copy(update=update), None)(to_message(event))  # type: ignore[arg-type]
    [request] = server.requests
    [attachment] = request.json["attachments"]
    assert request.json["text"] == "<@U1> <@U2> <!subteam^S1> <!subteam^S2>"
    assert attachment["text"] == "&lt;!channel&gt; a &amp; b" and attachment["color"] == "#9C3C31"
    assert attachment["title_link"] == "https://pipecd.example.com/deployments/d?project=j"
    assert render(replace(to_message(event), tone=Tone.SUCCESS), [], [])["text"] == ""
