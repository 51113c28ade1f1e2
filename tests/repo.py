"""A user's clone of a repository: write files, commit, push. Uses real Git without the machine's settings."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipecd.quickstart.git_server import GitServer

_CONFIG = """[core]
\trepositoryformatversion = 0
\tfilemode = true
[remote "origin"]
\turl = {remote}
\tfetch = +refs/heads/*:refs/remotes/origin/*
"""


class Clone:
    """Created unless it exists. `bare` is the folder of the repository behind `remote`, if that is no path.

    With it, objects are written there, and a push only moves the branch: a tenth of the CPU time of
    `git push`, which is called where no `bare` is given.
    """

    def __init__(self, path: Path, remote: str, branch: str = "main", *, bare: Path | None = None) -> None:
        self.path, self.remote, self.branch = path, remote, branch
        self.bare = bare or (Path(remote) if Path(remote, "HEAD").exists() else None)
        folder = path / ".git"
        if folder.exists():
            return
        (folder / "refs").mkdir(parents=True)
        if self.bare:
            (folder / "objects").symlink_to(self.bare / "objects")
        else:
            (folder / "objects").mkdir()
        (folder / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
        (folder / "config").write_text(_CONFIG.format(remote=remote))

    def git(self, *arguments: str, at: Path | None = None) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            # Otherwise, each commit starts two more processes.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "maintenance.auto",
            "GIT_CONFIG_VALUE_0": "false",
        }
        for role in ("AUTHOR", "COMMITTER"):
            env |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.com"}
        result = subprocess.run(
            ["git", *arguments], cwd=at or self.path, env=env, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def write(self, files: Mapping[str, str | None]) -> None:
        """Write contents by path; None deletes the file."""
        for name, text in files.items():
            path = self.path / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, message: str, files: Mapping[str, str | None] | None = None) -> str:
        """Returns the new commit's hash."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def push(self, commit: str = "") -> None:
        """Of HEAD, which may be given. Raises AssertionError if it does not contain the branch's commit."""
        commit, target = commit or self.git("rev-parse", "HEAD"), f"refs/heads/{self.branch}"
        if self.bare is None:
            self.git("push", "--quiet", "origin", f"{commit}:{target}")
            return
        bare = f"--git-dir={self.bare}"
        before = self.git(bare, "for-each-ref", "--format=%(objectname)", target)
        if before:
            self.git("merge-base", "--is-ancestor", before, commit)
        # Refused if another push has changed the branch meanwhile.
        self.git(bare, "update-ref", target, commit, before or "0" * 40)

    def commit_and_push(self, message: str, files: Mapping[str, str | None] | None = None) -> str:
        commit = self.commit(message, files)
        self.push(commit)
        return commit


def served_clone(server: GitServer, folder: Path, name: str = "shop") -> Clone:
    """A clone of a new repository of the server."""
    return Clone(folder / name, server.url(name), bare=server.create(name))


def local_clone(folder: Path, name: str = "shop") -> Clone:
    """A clone of a new repository beside it, whose URL is a path."""
    remotes = folder / "git"
    remotes.mkdir(exist_ok=True)
    return Clone(folder / "clone", str(GitServer(remotes).create(name)))
