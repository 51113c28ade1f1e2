"""The commands of the guides, followed as far as a machine without a cloud can follow them.

Commands of this project, `make` targets, build targets and arguments of Terraform modules exist. Commands of
AWS have operations and parameters that AWS's API has. Commands of openssl are run.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from botocore.session import Session

from docsite.commands import programs
from docsite.links import pages

ROOT = Path(__file__).parents[2]
PAGES = [name for name in pages(ROOT) if not name.startswith("docs/reference/")]
PROGRAMS = ("pipecd", "piped", "launcher", "pipectl")
#: Keywords of the shell, between which one command ends and the next begins, as at its operators.
KEYWORDS = {"do", "done", "then", "fi"}
OPERATORS = "|&;()\n"
#: Commands of the AWS CLI that are more than one call of the API.
AWS_CLI_ONLY = {("ecr", "get-login-password"), ("logs", "tail")}
#: Options of every command of the AWS CLI.
AWS_CLI_OPTIONS = {"--query", "--output", "--region", "--profile"}


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    text: str


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = (ROOT / page).read_text()
        for indent, language, body in re.findall(
            r"^( *)```(\w+)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL
        ):
            yield Block(page, language, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))


def shell_commands() -> Iterator[tuple[str, Sequence[str]]]:
    """The page and the words of each command in a block of shell commands."""
    for block in blocks():
        if block.language == "sh":
            for words in split_commands(block.text):
                yield block.page, words


def split_commands(text: str) -> Iterator[Sequence[str]]:
    # The lexer would take the end of a line for a part of its comment.
    text = re.sub(r"(^|\s)#.*$", "", text.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace = " \t"
    lexer.commenters = ""
    lexer.wordchars += ":@,+%"
    words: list[str] = []
    for word in lexer:
        if word in KEYWORDS or set(word) <= set(OPERATORS):
            if words:
                yield words
            words = []
        # An assignment before a command is no part of it; its value may begin a command.
        elif not words and (assigned := re.fullmatch(r"\w+=(.*)", word)):
            words = [assigned[1]] if assigned[1].strip("$") else []
        elif not words and word == "$":
            continue
        else:
            words.append(word)
    if words:
        yield words


def substituted_commands(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """The command itself, and those in `$(…)` within its quoted words."""
    yield words
    for word in words:
        for inner in re.findall(r"\$\(([^)]*)\)", word):
            yield from split_commands(inner)


ALL_COMMANDS = [(page, inner) for page, words in shell_commands() for inner in substituted_commands(words)]


def commands_of(*names: str) -> list[tuple[str, Sequence[str]]]:
    return [(page, words) for page, words in ALL_COMMANDS if words[0].rpartition("/")[2] in names]


def known_commands() -> Mapping[str, frozenset[str]]:
    """Name of each command of this project → its options."""
    return {
        command.name: frozenset(flag for option in command.options for flag in option.opts)
        | frozenset(flag for option in command.options for flag in option.secondary_opts)
        | {"--help"}
        for commands in programs().values()
        for command in commands
    }


def test_commands_are_found_in_the_guides() -> None:
    assert len(commands_of(*PROGRAMS)) >= 12
    assert len(commands_of("aws")) >= 6
    assert len(commands_of("make")) >= 5


def test_commands_of_this_project_are_accepted_by_their_parsers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options have values that they may have, and what is required is there."""
    monkeypatch.setattr(click.Option, "prompt_for_value", lambda option, context: "entered")
    commands = {command.name: command.command for each in programs().values() for command in each}
    problems = []
    for page, words in commands_of(*PROGRAMS):
        name = next((n for count in (4, 3, 2) if (n := " ".join(words[:count])) in commands), None)
        if name is None or name == "launcher launcher":
            # The launcher takes the options of the agent too; the next test has both.
            continue
        arguments = list(words[len(name.split()) :])
        if ">" in arguments:
            arguments = arguments[: arguments.index(">")]
        try:
            commands[name].make_context(name, arguments)
        except click.UsageError as error:
            problems.append(f"{page}: {' '.join(words)}: {error.format_message()}")
    assert problems == []


def test_commands_of_this_project_exist_with_their_options() -> None:
    known = known_commands()
    problems = []
    for page, words in commands_of(*PROGRAMS):
        name = next((n for count in (4, 3, 2) if (n := " ".join(words[:count])) in known), None)
        if name is None:
            only_option = len(words) == 2 and words[1] in ("--help", "--version")
            problems += [] if only_option else [f"{page}: {' '.join(words)}: no such command"]
            continue
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        allowed = known[name] | (known["piped piped"] if name == "launcher launcher" else frozenset())
        problems += [f"{page}: {name} {option}" for option in options if option not in allowed]
    assert problems == []


def test_commands_that_texts_name_exist() -> None:
    """In code spans, such as `pipectl event register`; the first words are checked."""
    known = known_commands()
    groups = {name.rsplit(" ", 1)[0] for name in known} | {name.split(" ")[0] for name in known}
    problems = []
    for page in PAGES:
        text = re.sub(r"^ *```.*?^ *```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`((?:pipecd|piped|launcher|pipectl) [a-z][^`]*)`", text):
            words = re.findall(r"^(?:[a-z][a-z-]*(?: |$))+", span + " ")[0].split()
            # The guide to pipectl names its commands without the program.
            names = [" ".join(words[:count]) for count in range(2, len(words) + 1)]
            if not any({name, f"pipectl {name}"} & {*known, *groups} for name in names):
                problems.append(f"{page}: `{span}`")
    assert problems == []


def test_commands_of_pytest_select_tests_that_exist() -> None:
    problems = []
    for page in PAGES:
        for path, word in re.findall(r"pytest (tests/\S+)(?: -k (\w+))?", (ROOT / page).read_text()):
            place = ROOT / path
            names = re.findall(r"def (test_\w+)", place.read_text()) if place.is_file() else []
            if not place.exists() or (word and not any(word in name for name in names)):
                problems.append(f"{page}: {path} {word}")
    assert problems == []


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {(page, word) for page, words in commands_of("make") for word in words[1:] if word.isidentifier()}
    for page in PAGES:
        named |= {(page, target) for target in re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text())}
    assert [(page, target) for page, target in named if target not in targets] == []


def test_targets_of_docker_builds_exist() -> None:
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.MULTILINE | re.IGNORECASE))
    named = [
        (page, words[index + 1])
        for page, words in commands_of("docker")
        for index, word in enumerate(words)
        if word == "--target" and "$" not in words[index + 1]
    ]
    assert named
    assert [(page, target) for page, target in named if target not in stages] == []


def test_commands_of_aws_are_calls_of_its_api() -> None:
    session = Session()
    problems = []
    for page, words in commands_of("aws"):
        service, operation = words[1], words[2]
        if service == "s3" or (service, operation) in AWS_CLI_ONLY:
            continue
        model = session.get_service_model(service)
        by_name = {kebab_case(name): name for name in model.operation_names}
        if operation not in by_name:
            problems.append(f"{page}: aws {service} {operation}")
            continue
        shape = model.operation_model(by_name[operation]).input_shape
        assert shape
        members = {f"--{kebab_case(name)}" for name in shape.members}
        options = {word for word in words if word.startswith("--")}
        problems += [
            f"{page}: aws {service} {operation} {option}" for option in options - members - AWS_CLI_OPTIONS
        ]
    assert problems == []


def kebab_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def test_commands_of_openssl_succeed(tmp_path: Path) -> None:
    commands = commands_of("openssl")
    assert len(commands) >= 4
    for page, words in commands:
        line = [word for word in words if not word.startswith(">")]
        output = line.pop() if ">" in words else ""
        completed = subprocess.run(line, cwd=tmp_path, capture_output=True, timeout=60)
        assert completed.returncode == 0, (page, words, completed.stderr)
        assert not output or completed.stdout


def test_arguments_of_terraform_modules_are_their_variables() -> None:
    problems, count = [], 0
    for block in blocks():
        if block.language != "hcl":
            continue
        for body in re.findall(r'^module "\w+" \{\n(.*?)^\}', block.text, re.MULTILINE | re.DOTALL):
            source = re.search(r'^  source\s*= "([^"]+)"', body, re.MULTILINE)
            assert source, block
            path = source[1].removeprefix("../pipecd/")
            directory = ROOT / path if path.startswith("deploy/") else ROOT / "deploy" / path.lstrip("./")
            variables = "".join(file.read_text() for file in directory.glob("*.tf"))
            arguments = set(re.findall(r"^  (\w+)\s*=", body, re.MULTILINE)) - {"source"}
            declared = set(re.findall(r'^variable "(\w+)"', variables, re.MULTILINE))
            required = set(
                re.findall(r'^variable "(\w+)" \{\n(?:(?!^\}|^  default).*\n)*^\}', variables, re.MULTILINE)
            )
            problems += [f"{block.page}: {path}: {name}" for name in arguments - declared]
            if "# …" not in body:
                problems += [f"{block.page}: {path} lacks {name}" for name in required - arguments]
            count += 1
    assert problems == []
    assert count >= 5


@pytest.mark.parametrize("language", ["yaml", "json"])
def test_examples_can_be_parsed(language: str) -> None:
    problems = []
    for block in blocks():
        if block.language == language:
            try:
                list(yaml.safe_load_all(re.sub(r"\{\{.*?\}\}", "x", block.text)))
            except yaml.YAMLError as error:
                problems.append(f"{block.page}: {error}")
    assert problems == []


def test_the_test_finds_unknown_commands() -> None:
    """Commands after a pipe, within `$(…)`, after an assignment and over several lines are found."""
    text = 'a=$(pipectl x)\nprintf %s "$P" | piped \\\n  --y # comment\nB="$(launcher z | tail)" && make q\n'
    found = [inner[:2] for words in split_commands(text) for inner in substituted_commands(words)]
    assert ["pipectl", "x"] in found
    assert ["piped", "--y"] in found
    assert ["launcher", "z"] in found
    assert ["make", "q"] in found
