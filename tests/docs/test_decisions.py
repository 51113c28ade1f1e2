"""Records of decisions: each has all parts, and is listed with its date and status."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs/decisions"
HEAD = re.compile(r"# (\d+)\. .+\n\n- Date: (\d{4}-\d\d-\d\d)\n- Status: (accepted|rejected|replaced by)\b")
PARTS = ["Context", "Decision", "Alternatives", "Consequences"]
RECORDS = sorted(path.name for path in DECISIONS.glob("0*.md"))


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_all_parts_and_is_listed(name: str) -> None:
    text = (DECISIONS / name).read_text()
    head = HEAD.match(text)
    assert head, "begin with: # <number>. <title>, - Date: <date>, - Status: <status>"
    assert int(head[1]) == int(name[:4])
    assert [part for part in re.findall(r"^## (.+)$", text, re.MULTILINE) if part in PARTS] == PARTS
    listed = [line for line in (DECISIONS / "README.md").read_text().splitlines() if f"]({name})" in line]
    assert len(listed) == 1 and listed[0].startswith(f"| [{name[:4]}]") and f"| {head[2]} |" in listed[0]


def test_a_decision_that_code_mentions_exists() -> None:
    command = ["git", "grep", "-hoE", r"docs/decisions/0[0-9a-z-]+\.md", "--", ":!*.md"]
    mentioned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {Path(path).name for path in mentioned} <= set(RECORDS)
