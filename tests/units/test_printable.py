"""Text from a repository, a script or a server does not control the terminal."""

import json
import re
import time
from pathlib import Path

import pytest

from pipecd import pipectl, proto_json
from pipecd.pipectl.output import Output, echo, print_json
from pipecd.printable import printable, printable_lines
from pipecd.schema.model.application_pb2 import Application

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "cursor": "\x1b[999999999C\x1b[2J",
    "title": "\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x1b\\",
    "link": "\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
    "eight-bit sequences": "\x9b2J\x9d0;title\x9c\x90q\x9c",
    "unterminated": "\x1b]0;title",
    "incomplete": "\x1b[12",
    "reset": "\x1bc\x1b(B",
    "controls": "\x00\x07\x08\x0b\x0c\x0e\x1a\x7f\x85",
    "direction": "\u202eexe.txt\u2066",
    "overwritten": "error\rfine",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_that_controls_the_terminal_is_printed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printable(f"a {text} b").isprintable()
    lines = printable_lines(f"\ta {text}\nb\n")
    assert lines.replace("\n", "").replace("\t", "").isprintable()
    assert lines.startswith("\ta ")
    assert lines.endswith("\nb\n"), "the next line is shown"
    echo(text)
    for output in (Output(format="json"), Output(format="pipecd")):
        print_json(Application(name=text), output)
    assert re.sub(r"[\n\t]", "", capsys.readouterr().out).isprintable()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_json_keeps_its_meaning(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(Application(name=text), Output(format="json"))
    assert json.loads(capsys.readouterr().out)["name"] == text
    print_json(Application(name=text), Output(format="pipecd"))
    assert proto_json.loads(Application, capsys.readouterr().out.encode()).name == text


def test_ordinary_text_is_printed_as_it_is() -> None:
    text = "  + ünïcode 日本 \U0001f680\n\tindented\n"
    assert printable_lines(text) == text
    assert printable_lines("\x1b[1mbold\x1b[0m\r\nnext") == "bold\nnext"
    assert printable(" one\ntwo\t") == "one two"


@pytest.mark.parametrize("text", ["\x1b]", "\x1b[", "\x9b0;", "\x1b ", "\x00"])
def test_time_is_proportional_to_the_length(text: str) -> None:
    started = time.process_time()
    printable_lines(text * (1_000_000 // len(text)))
    assert time.process_time() - started < 5


def test_every_command_prints_through_output() -> None:
    """`root` and `completion` print nothing that comes from elsewhere."""
    allowed = {"output.py", "root.py", "completion.py"}
    prints = re.compile(r"\bclick\.s?echo|\bprint\(|sys\.std(out|err)\.write")
    for file in Path(pipectl.__file__).parent.glob("*.py"):
        assert file.name in allowed or not prints.search(file.read_text()), file.name
