"""Flags in the guide to the agent on AWS exist."""

import re
from pathlib import Path

from pipecd.config.sources import PIPED_SOURCES
from pipecd.launcher.cli import command

GUIDE = Path(__file__).parents[2] / "docs/guide/agent-on-aws.md"


def test_documented_flags_exist() -> None:
    known = {option for parameter in command.params for option in parameter.opts} | set(PIPED_SOURCES)
    guide = GUIDE.read_text()
    documented = set(re.findall(r"`(--[a-z-]+)", guide)) | set(re.findall(r" (--[a-z-]+)=", guide))
    assert documented - known == set()
    assert len(documented) > 15
