"""Output: complete JSON for programs, one line per record for people, no control characters."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import click
import pytest

from pipecd.pipectl.output import print_fields, print_json, print_table, printable
from pipecd.pipectl.values import parse_list, parse_pairs, parse_statuses
from pipecd.schema.api.applications_pb2 import ListApplicationsResponse
from pipecd.schema.model.application_pb2 import Application
from pipecd.schema.model.deployment_pb2 import Deployment, DeploymentStatus
from pipecd.schema.model.plan_preview_pb2 import ApplicationPlanPreviewResult

ID = "0b7f5d9e-1f7c-4d1e-9a55-3b7d2f1c8e42"


def test_json_includes_zero_and_empty_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """A program can read `.status` of a pending deployment and `.applications[]` of an empty list."""
    print_json(Deployment(id="d", created_at=2**40, labels={"b": "2", "a": "1"}))
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "DEPLOYMENT_PENDING"
    assert shown["created_at"] == 2**40 and shown["completed_at"] == 0
    assert list(shown["labels"]) == ["a", "b"] and shown["stages"] == []
    assert "trigger" not in shown, "a message that is not set is left out"
    print_json(ListApplicationsResponse())
    assert json.loads(capsys.readouterr().out) == {"applications": [], "cursor": ""}


def test_json_shows_bytes_as_base64_and_unknown_enum_values_as_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    preview = ApplicationPlanPreviewResult(plan_summary=b"\xff\x00")
    preview.MergeFromString(b"\x20\x63")  # application_kind = 99, from a newer control plane
    print_json(preview)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["plan_summary"], shown["application_kind"]) == ("/wA=", 99)


def test_text_from_a_commit_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("fix\x1b[2J\r\nall\u202ethe rest ") == "fix [2J  all the rest"
    print_table(("ID", "SUMMARY"), [("d1", "a\x1b]0;owned\x07\nb")], empty="")
    print_fields([("Commit", "c \x1b[31mred")])
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    assert len(out.splitlines()) == 3


def test_lines_are_not_wrapped_when_output_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("ID", "REASON"), [(ID, "long " * 400)], empty="")
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_id_is_not_wrapped_in_a_narrow_terminal() -> None:
    """A double click selects the whole id."""
    program = (
        "from pipecd.pipectl.output import print_table\n"
        f"print_table(('ID', 'NAME', 'REASON'), [('{ID}', 'shop', 'a rather long reason ' * 9)], empty='')"
    )
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", program], stdout=slave, env=environment, check=True, timeout=120)
    os.close(slave)
    read = bytearray()
    # The output arrives in chunks; reading past the last one raises OSError, since the slave side is closed.
    with suppress(OSError):
        while chunk := os.read(master, 100_000):
            read += chunk
    shown = read.decode()
    os.close(master)
    assert ID in shown
    assert len(shown.splitlines()) > 3, "the reason is wrapped instead"


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
    print_fields([("Name", Application(name="shop").name), ("Description", "")])
    assert capsys.readouterr().out == "Name  shop\n"
