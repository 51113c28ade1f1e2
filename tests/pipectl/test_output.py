"""Output: complete JSON for programs, tables for people, no control characters; watching."""

import json
import os
import pty
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click
import pytest

from pipecd.errors import Temporary
from pipecd.pipectl.output import (
    WATCH_INTERVAL,
    Output,
    View,
    fields,
    list_view,
    print_json,
    print_view,
    show,
    table,
)
from pipecd.pipectl.pipeds import status_of
from pipecd.pipectl.values import parse_list, parse_pairs, parse_statuses
from pipecd.printable import printable
from pipecd.schema.api.applications_pb2 import ListApplicationsResponse
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.kind_pb2 import ApplicationKind
from pipecd.schema.model.piped_pb2 import Piped
from pipecd.schema.model.plan_preview_pb2 import ApplicationPlanPreviewResult
from pipecd.schema.pipecd.v1.program_pb2 import ListPipedsResponse
from tests.virtual_clock import VirtualClock

JSON = Output(format="json")
ID = "0b7f5d9e-1f7c-4d1e-9a55-3b7d2f1c8e42"


def test_json_includes_zero_and_empty_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """A program can read `.status` of a pending deployment and `.applications[]` of an empty list."""
    print_json(Deployment(id="d", created_at=2**40, labels={"b": "2", "a": "1"}), JSON)
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "DEPLOYMENT_PENDING"
    assert shown["created_at"] == 2**40 and shown["completed_at"] == 0
    assert list(shown["labels"]) == ["a", "b"] and shown["stages"] == []
    assert "trigger" not in shown, "a message that is not set is left out"
    print_json(ListApplicationsResponse(), JSON)
    assert json.loads(capsys.readouterr().out) == {"applications": [], "cursor": ""}


def test_json_shows_bytes_as_base64_and_unknown_enum_values_as_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    preview = ApplicationPlanPreviewResult(plan_summary=b"\xff\x00")
    preview.MergeFromString(b"\x20\x63")  # application_kind = 99, from a newer control plane
    print_json(preview, JSON)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["plan_summary"], shown["application_kind"]) == ("/wA=", 99)


def test_json_as_pipecds_pipectl_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts that were written for it read enums as numbers, and do not find empty fields."""
    application = Application(id="a", kind=ApplicationKind.TERRAFORM, updated_at=2**40, labels={"a": "1"})
    application.git_path.repo.id = "demo"
    print_json(ListApplicationsResponse(applications=[application]), Output(format="pipecd"))
    assert capsys.readouterr().out == (
        '{"applications":[{"id":"a","kind":1,"git_path":{"repo":{"id":"demo"}},"labels":{"a":"1"},'
        '"updated_at":1099511627776}]}\n'
    )


def test_text_from_a_commit_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("fix\x1b[2J\r\nall\u202ethe rest ") == "fix all the rest"
    records = table(("ID", "SUMMARY"), [("d1", "a\x1b]0;owned\x07\nb [red]c :bug:")])
    assert records
    print_view(View(parts=[records, fields([("Commit", "c \x1b[31mred")])], notes=["note\x1b[2J"]))
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err and "\x07" not in captured.out
    assert len(captured.out.splitlines()) == 3
    assert "[red]c :bug:" in captured.out, "text is not markup"


def test_lines_are_not_wrapped_when_output_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for one_line in (False, True):
        records = table(("ID", "STATUS", "REASON"), [(ID, "SUCCESS", "long " * 400)], one_line=one_line)
        assert records
        print_view(View(parts=[records]))
        header, line = capsys.readouterr().out.splitlines()
        assert line.split()[:3] == [ID, "SUCCESS", "long"] and line.count("long") == 400
        assert header.split() == ["ID", "STATUS", "REASON"]


@contextmanager
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Standard output is a terminal of 60 columns. Yields a function that returns what is new on it."""
    master, slave = pty.openpty()
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("COLUMNS", "60"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    os.set_blocking(master, False)

    def read() -> str:
        sys.stdout.flush()
        shown = bytearray()
        with suppress(BlockingIOError):
            while chunk := os.read(master, 100_000):
                shown += chunk
        return shown.decode().replace("\r\n", "\n")

    with os.fdopen(slave, "w", encoding="utf-8") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        yield read
    os.close(master)


ROW = (ID, "shop", "RUNNING", "a rather long reason " * 9)
COLUMNS = ("ID", "NAME", "STATUS", "REASON")


def test_an_id_is_not_wrapped_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A double click selects the whole id."""
    with narrow_terminal(monkeypatch) as read:
        records = table(COLUMNS, [ROW])
        assert records
        print_view(View(parts=[records]))
        shown = read()
    assert ID in shown
    assert len(shown.splitlines()) > 3, "the reason is wrapped instead"


def test_a_list_on_a_terminal_has_one_line_per_record_with_a_short_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = Output()
    with narrow_terminal(monkeypatch) as read:
        print_view(list_view(COLUMNS, [(output.id(ID), *ROW[1:])], empty=""))
        assert Output(format="wide").id(ID) == ID and output.id("deployment-1") == "deployment-1"
        _, line = read().splitlines()
    assert ID[:8] in line and ID not in line and "● RUNNING" in line and "…" in line


def test_statuses_have_a_colour_unless_it_is_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def show_status() -> None:
        print_view(View(parts=[fields([("Status", "FAILURE"), ("Name", "FAILURE")])]))

    with narrow_terminal(monkeypatch) as read:
        show_status()
        coloured = read()
        assert "\x1b[31m✗ FAILURE\x1b[0m" in coloured and coloured.count("✗") == 1, "only the status"
        monkeypatch.setenv("NO_COLOR", "1")
        show_status()
        assert read() == "Status  ✗ FAILURE\nName    FAILURE\n"
        sys.stdout.reconfigure(encoding="ascii")  # type: ignore[union-attr]
        show_status()
        assert read() == "Status  FAILURE\nName    FAILURE\n", "the terminal cannot show the symbol"


def test_statuses_are_plain_words_when_output_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_view(View(parts=[fields([("Status", "SUCCESS")])]))
    assert capsys.readouterr().out == "Status  SUCCESS\n"


class Deployments:
    """A deployment whose status changes at each read; the third read fails."""

    def __init__(self) -> None:
        self.reads = 0

    async def __call__(self) -> Deployment:
        self.reads += 1
        if self.reads == 3:
            raise Temporary("the database does not respond")
        statuses = [DeploymentStatus.DEPLOYMENT_RUNNING] * 3 + [DeploymentStatus.DEPLOYMENT_SUCCESS]
        return Deployment(id="d1", status=statuses[self.reads - 1])


def render(deployment: Deployment) -> View:
    name = DeploymentStatus.Name(deployment.status).removeprefix("DEPLOYMENT_")
    return View(parts=[fields([("Status", name)])], final=name == "SUCCESS")


async def test_a_watched_view_is_printed_when_it_changes_until_it_is_final(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock, deployments = VirtualClock(), Deployments()
    await clock.run(show(clock, deployments, render, Output(watch=True)))
    assert capsys.readouterr().out == "Status  RUNNING\n\nStatus  SUCCESS\n"
    assert (deployments.reads, clock.monotonic()) == (4, 3 * WATCH_INTERVAL)


async def test_a_watched_view_is_redrawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    with narrow_terminal(monkeypatch) as read:
        await clock.run(show(clock, Deployments(), render, Output(watch=True)))
        shown = read()
    assert "● RUNNING" in shown and "✓ SUCCESS" in shown
    assert "the database does not respond; trying again" in shown
    assert shown.rstrip("\n").endswith("\x1b[?25h"), "the cursor is visible again"


def test_labels_and_lists_can_be_comma_separated_or_repeated() -> None:
    assert parse_pairs(["a=1, b=2", "c=x=y"], "=", "--labels") == {"a": "1", "b": "2", "c": "x=y"}
    assert parse_pairs(["env:a:b"], ":", "--label") == {"env": "a:b"}
    assert parse_list(["a,b", " c ", ","]) == ["a", "b", "c"]
    with pytest.raises(click.UsageError, match="--label: 'env' must have the form key:value"):
        parse_pairs(["env"], ":", "--label")


def test_statuses_are_accepted_with_and_without_prefix() -> None:
    both = [DeploymentStatus.DEPLOYMENT_SUCCESS, DeploymentStatus.DEPLOYMENT_FAILURE]
    assert parse_statuses(["success,DEPLOYMENT_FAILURE"], "--status") == both
    with pytest.raises(click.UsageError, match="use one of PENDING, PLANNED"):
        parse_statuses(["GREAT"], "--status")


def test_empty_fields_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_view(View(parts=[fields([("Name", Application(name="shop").name), ("Description", "")])]))
    assert capsys.readouterr().out == "Name  shop\n"


def test_an_agent_that_does_not_respond_is_told_apart_from_one_that_is_online() -> None:
    response = ListPipedsResponse(
        pipeds=[
            Piped(id="a", name="a", status=Piped.ONLINE),
            Piped(id="b", name="b", status=Piped.ONLINE),
            Piped(id="c", name="c", disabled=True),
        ],
        not_responding=["b"],
    )
    assert [status_of(piped, response.not_responding) for piped in response.pipeds] == [
        "ONLINE",
        "NOT_RESPONDING",
        "DISABLED",
    ]
