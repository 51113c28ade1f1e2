"""`deploy/release/make-release.sh` refuses what it cannot complete before it writes anything.

`tests/launcher` installs releases, and checks their signatures.
"""

import subprocess
from pathlib import Path

import pytest

from pipecd import __version__

ROOT = Path(__file__).parents[2]
VERSION = f"v{__version__}"


@pytest.mark.parametrize(
    ("version", "key", "message"),
    [
        ("v9.9.9", "", f"has version {VERSION}: set the version there and in pyproject.toml first"),
        (VERSION, "nowhere.pem", "nowhere.pem is not a private key that can be read"),
        (VERSION, "text.pem", "text.pem is not a private key that can be read"),
    ],
)
def test_a_release_that_cannot_be_made_is_refused(
    version: str, key: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "text.pem").write_text("not a key\n")
    arguments = [version, str(tmp_path / "releases"), *([str(tmp_path / key)] if key else [])]
    completed = subprocess.run(
        ["sh", "deploy/release/make-release.sh", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert completed.returncode == 1
    assert message in completed.stderr
    assert not (tmp_path / "releases").exists()
