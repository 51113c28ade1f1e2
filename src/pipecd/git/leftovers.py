"""Removes what a killed `git` leaves in a repository of the agent, so that the next one works.

Called by `mirror` and `tree`, for a repository that no `git` writes to at the moment.
"""

import os
import shutil
import time
from pathlib import Path


def remove_locks(git_dir: Path) -> None:
    """Remove lock files, which git otherwise respects without end."""
    for lock in git_dir.glob("*.lock"):
        lock.unlink(missing_ok=True)
    for parent, _, files in os.walk(git_dir / "refs"):
        for name in files:
            if name.endswith(".lock"):
                Path(parent, name).unlink(missing_ok=True)


def remove_unused(directory: Path, seconds: float) -> None:
    """Remove the entries of `directory` that were last used more than `seconds` ago."""
    for entry in directory.glob("*"):
        if time.time() - entry.stat().st_mtime > seconds:
            shutil.rmtree(entry, ignore_errors=True)
