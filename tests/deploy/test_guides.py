"""YAML examples and flags in the guide to the agent on AWS and the READMEs of deploy/ are valid."""

import re
from pathlib import Path

import pytest
import yaml

from pipecd.config import application, piped
from pipecd.config.decode import decode
from pipecd.config.document import parse
from pipecd.config.sources import PIPED_SOURCES
from pipecd.launcher.cli import command
from pipecd.platforms import awslambda
from pipecd.platforms.awslambda.function import LambdaFunction
from pipecd.platforms.stage_tables import application_types

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "docs" / "guide" / "agent-on-aws.md", *sorted((ROOT / "deploy").rglob("README.md"))]


def blocks(text: str, language: str) -> list[str]:
    matches = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in matches]


def examples() -> list[tuple[str, str]]:
    return [(guide.parent.name, block) for guide in GUIDES for block in blocks(guide.read_text(), "yaml")]


@pytest.mark.parametrize(("where", "text"), examples())
def test_example_files_can_be_loaded(where: str, text: str) -> None:
    text = re.sub(r"<[^>]+>", "c2VjcmV0", text)
    match yaml.safe_load(text)["kind"]:
        case "Piped":
            assert piped.load(text, "piped.yaml").repositories
        case "LambdaApp":
            assert application.load(text, "app.pipecd.yaml", lambda _: application_types(awslambda.platform))
        case "LambdaFunction":
            document = parse(text, "function.yaml")
            assert decode(LambdaFunction, document.spec, document, ("spec",)).name == "shop-hello"
        case other:
            raise AssertionError(f"{where}: no check for kind {other}")


def test_there_are_examples_of_every_kind() -> None:
    kinds = [yaml.safe_load(re.sub(r"<[^>]+>", "x", text))["kind"] for _, text in examples()]
    assert {"Piped", "LambdaApp", "LambdaFunction"} <= set(kinds)


def test_documented_flags_exist() -> None:
    known = {option for parameter in command.params for option in parameter.opts} | set(PIPED_SOURCES)
    guide = GUIDES[0].read_text()
    documented = set(re.findall(r"`(--[a-z-]+)", guide)) | set(re.findall(r" (--[a-z-]+)=", guide))
    assert documented - known == set()
    assert len(documented) > 15
