"""Where Terraform runs: a checkout, at a path that stays the same for the application, with its own data.

A plan may hold absolute paths and files that planning made (an archive of a function's code, the lock file
of providers). So that it can be applied in another checkout, that one appears under the same path, and the
files are packed with the plan. All that is secret lies inside the checkout and goes with it.
"""

import contextlib
import fcntl
import io
import json
import os
import tarfile
from asyncio import sleep, timeout
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from uuid import uuid4

from pipecd.errors import Refused
from pipecd.model.stage import Source

#: Files that planning made are packed with the plan up to this many bytes.
MOST_MADE = 64 * 1024 * 1024
#: How long an `init` waits for its turn at the cache of plug-ins, before it goes without (seconds).
TURN = 180.0
_PLAN = "plan"
_FILES = "files"


class Folder:
    """One checkout. `directory` is the application's, under its lasting path."""

    def __init__(self, source: Source, application_id: str) -> None:
        self._root = source.root.resolve()
        beside = self._root.parent / "terraform"
        self._own = source.directory.resolve() / ".terraform" / "pipecd"
        self._own.mkdir(parents=True, exist_ok=True)
        beside.mkdir(exist_ok=True)
        self.link = beside / sha256(application_id.encode()).hexdigest()[:16]
        _point(self.link, self._root)
        self.directory = self.link / source.directory.resolve().relative_to(self._root)
        self.plug_ins = beside / "plug-ins"

    @property
    def data(self) -> Path:
        """What Terraform calls its data directory."""
        return self._own / "data"

    @property
    def plan(self) -> Path:
        return self._own / _PLAN

    @property
    def prepared(self) -> bool:
        return (self._own / "prepared").exists()

    def note_prepared(self) -> None:
        (self._own / "prepared").touch()

    def note_files(self) -> None:
        """Remember what is in the checkout, before Terraform has touched it."""
        if not self._before.exists():
            self._before.write_text(json.dumps(self._files()))

    def pack(self) -> bytes:
        """The plan, with the files that came since `note_files`. Raises Refused when they are too large."""
        before: Mapping[str, list[int]] = json.loads(self._before.read_text())
        made = [name for name, facts in self._files().items() if before.get(name) != facts]
        if sum((self._root / name).stat().st_size for name in made) > MOST_MADE:
            raise Refused(
                f"planning made more than {MOST_MADE >> 20} MiB of files, too much to keep with the plan",
                remedy="make large files in a build, and let Terraform use them from there",
            )
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
            archive.add(self.plan, _PLAN)
            for name in made:
                archive.add(self._root / name, f"{_FILES}/{name}", recursive=False)
        return packed.getvalue()

    def unpack(self, packed: bytes) -> None:
        """Bring a packed plan and its files into this checkout."""
        self.note_files()
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    continue
                target = self._target(member.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
                target.chmod(member.mode & 0o777)

    @property
    def _before(self) -> Path:
        return self._own / "before.json"

    def _target(self, name: str) -> Path:
        if name == _PLAN:
            return self.plan
        inside = PurePosixPath(name).relative_to(_FILES)
        target = (self._root / inside).resolve()
        if not target.is_relative_to(self._root):
            raise Refused(f"{inside} would be written outside the checkout", remedy="remove the link")
        return target

    def _files(self) -> dict[str, list[int]]:
        """Regular files with their size and time of change."""
        return {
            str(path.relative_to(self._root)): [facts.st_size, facts.st_mtime_ns]
            for path in _walk(self._root)
            if not path.is_relative_to(self._own) and (facts := path.lstat())
        }


@asynccontextmanager
async def turn(cache: Path) -> AsyncIterator[bool]:
    """One `init` at a time may fill the cache; Terraform does not guard it. False: the turn did not come."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        try:
            async with timeout(TURN):
                # A thread that waits for a file's lock could not be cancelled.
                while not _locked(lock.fileno()):  # noqa: ASYNC110
                    await sleep(0.05)
        except TimeoutError:
            yield False
        else:
            yield True


def _locked(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _point(link: Path, target: Path) -> None:
    """Make `link` lead to `target`, whatever it led to before, without a moment in which it is missing."""
    if link.is_symlink() and link.readlink() == target:
        return
    fresh = link.with_name(f"{link.name}.{uuid4().hex}")
    fresh.symlink_to(target)
    fresh.replace(link)


def _walk(root: Path) -> Iterator[Path]:
    for parent, _, files in os.walk(root):
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                yield path
