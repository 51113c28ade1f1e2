"""Checkouts of repositories that an application's files name, in addition to the configured ones.

Called for a Lambda function or a Helm chart in another repository. The author of such a file must not gain
access through it: the password is sent only to hosts of remotes in the agent's configuration, and local paths
are not accepted as remotes.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipecd.errors import ConfigError, NotFound
from pipecd.git.command import git
from pipecd.git.credentials import Credentials, User, environment
from pipecd.git.tree import Trees, refuse_excluded
from pipecd.remotes import same_repository

#: Seconds.
FETCH_TIMEOUT = 300.0
_WITH_HOST = re.compile(r"^(https?|ssh)://|^[^@/:]+@[^/:]+:")
_SHORT_COMMIT = re.compile(r"^[0-9a-f]{4,39}$")


@dataclass(frozen=True, kw_only=True)
class OtherRepositories:
    home: Path
    user: User
    trees: Trees
    #: The text of the SSH key for a remote, where it is not the agent's usual one.
    ssh_keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    @asynccontextmanager
    async def checkout(self, remote: str, ref: str, path: str = "") -> AsyncIterator[Path]:
        """A checkout of a branch, tag or commit, which the caller may change; removed when the block ends.

        Submodules and LFS files are fetched in the directory `path` only. Raises ConfigError, Refused or
        Temporary.
        """
        self._check(remote, ref)
        self.home.mkdir(parents=True, exist_ok=True)
        with (
            TemporaryDirectory(prefix="pipecd-checkout-", dir=self.home) as directory,
            environment(self._credentials(remote), self.user, self.home) as env,
        ):
            network_env = self.trees.access.environment(env, remote)
            files, git_dir = Path(directory, "files"), Path(directory, "store")
            files.mkdir()
            await git("init", "--quiet", "--bare", str(git_dir), env=env)
            options = ("--git-dir", str(git_dir))
            fetch = (*options, "fetch", "--quiet", "--no-recurse-submodules", "--no-auto-gc")
            try:
                if _SHORT_COMMIT.match(ref):
                    await git(
                        *(*fetch, "--", remote, "+refs/*:refs/*"), env=network_env, timeout=FETCH_TIMEOUT
                    )
                    commit = ref
                else:
                    await git(
                        *(*fetch, "--depth=1", "--", remote, ref), env=network_env, timeout=FETCH_TIMEOUT
                    )
                    commit = "FETCH_HEAD"
                hash_output = await git(*options, "rev-parse", f"{commit}^{{commit}}", env=env)
            except NotFound as error:
                raise _unknown_ref_error(remote, ref) from error
            excluded = await self.trees.write(
                git_dir, hash_output.decode().strip(), files, remote=remote, env=env, under=path
            )
            refuse_excluded(excluded, path)
            yield files

    def _credentials(self, remote: str) -> Credentials:
        credentials = self.trees.access.credentials
        for other, key in self.ssh_keys.items():
            if same_repository(remote, other):
                return replace(credentials, ssh_key=key)
        return credentials

    def _check(self, remote: str, ref: str) -> None:
        trusted = (*self.trees.access.remotes, *self.ssh_keys)
        configured = any(same_repository(remote, other) for other in trusted)
        if not configured and not _WITH_HOST.match(remote):
            raise ConfigError(f"{remote!r} is not a remote repository", remedy="write an https or ssh remote")
        if ref.startswith("-") or ":" in ref or not ref.strip():
            raise ConfigError(f"{ref!r} is not a branch, tag or commit")


def _unknown_ref_error(remote: str, ref: str) -> ConfigError:
    return ConfigError(
        f"{remote} has no branch, tag or commit {ref}", remedy="push it, or correct the ref in the file"
    )
