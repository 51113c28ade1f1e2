"""Reads the configuration from a Git repository: `--config-from-git-repo`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipecd.config.piped import decode_base64
from pipecd.config.sources import Source, Text
from pipecd.errors import ConfigError, NotFound
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.telemetry import redactor


@dataclass(frozen=True, kw_only=True)
class GitLocation:
    """A file on a branch, and the SSH key for the repository: a key file, the key as base64, or none."""

    url: str
    branch: str
    file: str
    ssh_key_file: str = ""
    ssh_key_data: str = ""

    def validate(self) -> "GitLocation":
        """Return self. Raises ConfigError for missing or conflicting flags."""
        missing = [
            flag
            for flag, value in (
                ("--git-repo-url", self.url),
                ("--git-branch", self.branch),
                ("--git-piped-config-file", self.file),
            )
            if not value
        ]
        if missing:
            raise ConfigError(
                f"--config-from-git-repo requires {' and '.join(missing)}", remedy="give all three flags"
            )
        if self.ssh_key_file and self.ssh_key_data:
            raise ConfigError(
                "--git-ssh-key-file and --git-ssh-key-data are both given", remedy="give one of them"
            )
        return self

    def ssh_key(self) -> str:
        """The private key, empty for none. Raises ConfigError if it cannot be read."""
        if self.ssh_key_data:
            return decode_base64(self.ssh_key_data, "--git-ssh-key-data")
        if not self.ssh_key_file:
            return ""
        try:
            return Path(self.ssh_key_file).read_text()
        except OSError as error:
            raise ConfigError(
                f"{self.ssh_key_file} cannot be read: {error.strerror}", remedy="correct --git-ssh-key-file"
            ) from error


class GitSource:
    """A configuration source that reads the file at the head of the branch."""

    def __init__(self, location: GitLocation, mirrors: Mirrors) -> None:
        self._location, self._mirrors = location, mirrors
        self._last_read: tuple[str, Text] | None = None

    async def read(self) -> Text:
        """Read the file. Fetches only if the head of the remote branch has changed."""
        location = self._location
        head = await self._mirrors.head(location.url, location.branch)
        if self._last_read and self._last_read[0] == head:
            return self._last_read[1]
        await self._mirrors.fetch(location.url)
        try:
            value = await self._mirrors.read(location.url, head, location.file)
        except NotFound as error:
            raise ConfigError(
                f"the branch {location.branch} of the repository has no file {location.file}",
                remedy="push it, or correct --git-piped-config-file",
            ) from error
        try:
            text = Text(text=value.decode(), name=location.file)
        except UnicodeDecodeError:
            raise ConfigError(f"{location.file} is not text", remedy="save it as UTF-8") from None
        self._last_read = (head, text)
        return text


@asynccontextmanager
async def open_git_source(location: GitLocation, home: Path) -> AsyncIterator[Source]:
    """The source while the block runs. Its mirror is stored below `home`. Raises ConfigError."""
    key = location.validate().ssh_key()
    if key:
        redactor.add(key)
    async with Mirrors(home / "git", Credentials(ssh_key=key), User()) as mirrors:
        yield GitSource(location, mirrors)
