"""What is printed: whole JSON for programs, one line a record for people, nothing that steers a terminal."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import click
import pytest

from pipecd.pipectl.output import as_json, facts, printable, table
from pipecd.pipectl.values import pairs, statuses, words
from pipecd.schema.api.applications_pb2 import ListApplicationsResponse
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.plan_preview_pb2 import ApplicationPlanPreviewResult

ID = "0b7f5d9e-1f7c-4d1e-9a55-3b7d2f1c8e42"


def test_json_leaves_nothing_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A program asks for `.status` of what is pending, and for `.applications[]` of nothing."""
    as_json(Deployment(id="d", created_at=2**40, labels={"b": "2", "a": "1"}))
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "DEPLOYMENT_PENDING"
    assert shown["created_at"] == 2**40 and shown["completed_at"] == 0
    assert list(shown["labels"]) == ["a", "b"] and shown["stages"] == []
    assert "trigger" not in shown, "what was never given is not made up"
    as_json(ListApplicationsResponse())
    assert json.loads(capsys.readouterr().out) == {"applications": [], "cursor": ""}


def test_json_shows_bytes_as_base64_and_enums_that_it_does_not_know_as_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    preview = ApplicationPlanPreviewResult(plan_summary=b"\xff\x00")
    preview.MergeFromString(b"\x20\x63")  # application_kind = 99, from a newer control plane
    as_json(preview)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["plan_summary"], shown["application_kind"]) == ("/wA=", 99)


def test_what_stands_in_a_commit_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("fix\x1b[2J\r\nall\u202ethe rest ") == "fix [2J  all the rest"
    table(("ID", "SUMMARY"), [("d1", "a\x1b]0;owned\x07\nb")], empty="")
    facts([("Commit", "c \x1b[31mred")])
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    assert len(out.splitlines()) == 3


def test_a_line_is_not_wrapped_where_another_program_reads(capsys: pytest.CaptureFixture[str]) -> None:
    table(("ID", "REASON"), [(ID, "long " * 400)], empty="")
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_id_stays_whole_in_a_narrow_terminal() -> None:
    """Whoever double-clicks it has all of it."""
    program = (
        "from pipecd.pipectl.output import table\n"
        f"table(('ID', 'NAME', 'REASON'), [('{ID}', 'shop', 'a rather long reason ' * 9)], empty='')"
    )
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", program], stdout=slave, env=environment, check=True, timeout=120)
    os.close(slave)
    read = bytearray()
    # It comes in pieces; after the last one the terminal has no other side.
    with suppress(OSError):
        while piece := os.read(master, 100_000):
            read += piece
    shown = read.decode()
    os.close(master)
    assert ID in shown
    assert len(shown.splitlines()) > 3, "the reason is wrapped instead"


def test_labels_and_lists_are_given_once_or_several_times() -> None:
    assert pairs(["a=1, b=2", "c=x=y"], "=", "--labels") == {"a": "1", "b": "2", "c": "x=y"}
    assert pairs(["env:a:b"], ":", "--label") == {"env": "a:b"}
    assert words(["a,b", " c ", ","]) == ["a", "b", "c"]
    with pytest.raises(click.UsageError, match="--label: 'env' must be written as key:value"):
        pairs(["env"], ":", "--label")


def test_statuses_are_known_by_either_name() -> None:
    both = [DeploymentStatus.DEPLOYMENT_SUCCESS, DeploymentStatus.DEPLOYMENT_FAILURE]
    assert statuses(["success,DEPLOYMENT_FAILURE"], "--status") == both
    with pytest.raises(click.UsageError, match="use one of PENDING, PLANNED"):
        statuses(["GREAT"], "--status")


def test_what_was_never_set_is_no_fact(capsys: pytest.CaptureFixture[str]) -> None:
    facts([("Name", Application(name="shop").name), ("Description", "")])
    assert capsys.readouterr().out == "Name  shop\n"
