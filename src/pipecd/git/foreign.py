"""Repositories that an application's own files name, beside those of the agent's configuration.

Called for a Lambda function whose code lives elsewhere. Whoever writes such a file must not gain by it: the
password goes only to hosts that the agent's configuration names, and no path of the agent's own disk
is a remote.
"""

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipecd.errors import ConfigError, NotFound
from pipecd.git.command import git
from pipecd.git.credentials import Credentials, User, environment
from pipecd.remotes import canonical, same_repository

FETCH_SECONDS = 300.0
_WITH_HOST = re.compile(r"^(https?|ssh)://|^[^@/:]+@[^/:]+:")
_SHORT_COMMIT = re.compile(r"^[0-9a-f]{4,39}$")


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """`trusted` are the remotes of the agent's own configuration."""

    home: Path
    credentials: Credentials
    user: User
    trusted: Collection[str] = ()

    @asynccontextmanager
    async def checkout(self, remote: str, ref: str) -> AsyncIterator[Path]:
        """The files of a branch, tag or commit, the caller's own to change. Raises ConfigError, Temporary."""
        self._check(remote, ref)
        self.home.mkdir(parents=True, exist_ok=True)
        with (
            TemporaryDirectory(prefix="pipecd-foreign-", dir=self.home) as place,
            environment(self._for(remote), self.user, self.home) as env,
        ):
            files, store = Path(place, "files"), Path(place, "store")
            files.mkdir()
            await git("init", "--quiet", "--bare", str(store), env=env)
            where = ("--git-dir", str(store))
            fetch = (*where, "fetch", "--quiet", "--no-recurse-submodules", "--no-auto-gc")
            try:
                if _SHORT_COMMIT.match(ref):
                    await git(*fetch, "--", remote, "+refs/*:refs/*", env=env, timeout=FETCH_SECONDS)
                    commit = ref
                else:
                    await git(*fetch, "--depth=1", "--", remote, ref, env=env, timeout=FETCH_SECONDS)
                    commit = "FETCH_HEAD"
                await git(*where, "--work-tree", str(files), "read-tree", commit, env=env)
            except NotFound as error:
                raise _no_such_ref(remote, ref) from error
            tree = (*where, "--work-tree", str(files))
            await git(*tree, "checkout-index", "--all", "--force", env=env, cwd=files, timeout=FETCH_SECONDS)
            yield files

    def _for(self, remote: str) -> Credentials:
        if _host(remote) in {_host(one) for one in self.trusted}:
            return self.credentials
        return replace(self.credentials, username="", password="")

    def _check(self, remote: str, ref: str) -> None:
        known = any(same_repository(remote, one) for one in self.trusted)
        if not known and not _WITH_HOST.match(remote):
            raise ConfigError(f"{remote!r} is no remote repository", remedy="write an https or ssh remote")
        if ref.startswith("-") or ":" in ref or not ref.strip():
            raise ConfigError(f"{ref!r} is no branch, tag or commit")


def _host(remote: str) -> str:
    return canonical(remote).partition("/")[0]


def _no_such_ref(remote: str, ref: str) -> ConfigError:
    return ConfigError(
        f"{remote} has no branch, tag or commit {ref}", remedy="push it, or correct the ref in the file"
    )
