"""Code in the guides to extending the agent is quoted from files that are tested."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Guide → directory of the code that it quotes.
QUOTES = {"write-a-stage": "tests/stages/guide"}


@pytest.mark.parametrize("guide", QUOTES)
def test_code_of_guides_is_quoted_from_tested_files(guide: str) -> None:
    text = (ROOT / f"docs/guide/{guide}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    sources = [path.read_text() for path in sorted((ROOT / QUOTES[guide]).rglob("*.py"))]
    assert blocks
    for block in blocks:
        assert any(block in source for source in sources), f"not in {QUOTES[guide]}:\n{block}"


@pytest.mark.parametrize("guide", ["write-a-stage", "write-a-platform"])
def test_files_that_guides_name_exist(guide: str) -> None:
    text = (ROOT / f"docs/guide/{guide}.md").read_text()
    named = re.findall(r"`((?:src|tests|examples)/[\w./]+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
