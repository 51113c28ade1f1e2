"""A configuration in a Git repository, looked at anew each time: `--config-from-git-repo`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipecd.config.piped import decoded
from pipecd.config.sources import Source, Text
from pipecd.errors import ConfigError, NotFound
from pipecd.git.credentials import Credentials, User
from pipecd.git.mirror import Mirrors
from pipecd.telemetry import redactor


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file on a branch, and the SSH key to get there: a file, or base64 of one, or none."""

    url: str
    branch: str
    file: str
    ssh_key_file: str = ""
    ssh_key_data: str = ""

    def checked(self) -> "Place":
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
                f"--config-from-git-repo lacks {' and '.join(missing)}", remedy="give all three of them"
            )
        if self.ssh_key_file and self.ssh_key_data:
            raise ConfigError(
                "--git-ssh-key-file and --git-ssh-key-data are both given", remedy="give one of them"
            )
        return self

    def ssh_key(self) -> str:
        if self.ssh_key_data:
            return decoded(self.ssh_key_data, "--git-ssh-key-data")
        if not self.ssh_key_file:
            return ""
        try:
            return Path(self.ssh_key_file).read_text()
        except OSError as error:
            raise ConfigError(
                f"{self.ssh_key_file} cannot be read: {error.strerror}", remedy="correct --git-ssh-key-file"
            ) from error


class Repository:
    def __init__(self, place: Place, mirrors: Mirrors) -> None:
        self._place, self._mirrors = place, mirrors
        self._seen: tuple[str, Text] | None = None

    async def read(self) -> Text:
        """Asks the remote for its head; fetches and reads only when that is new."""
        place = self._place
        head = await self._mirrors.head(place.url, place.branch)
        if self._seen and self._seen[0] == head:
            return self._seen[1]
        await self._mirrors.fetch(place.url)
        try:
            value = await self._mirrors.read(place.url, head, place.file)
        except NotFound as error:
            raise ConfigError(
                f"{place.branch} of the repository has no file {place.file}",
                remedy="push it, or correct --git-piped-config-file",
            ) from error
        try:
            text = Text(text=value.decode(), name=place.file)
        except UnicodeDecodeError:
            raise ConfigError(f"{place.file} is not text", remedy="write it in UTF-8") from None
        self._seen = (head, text)
        return text


@asynccontextmanager
async def repository(place: Place, home: Path) -> AsyncIterator[Source]:
    """Its mirror lives below `home`."""
    key = place.checked().ssh_key()
    if key:
        redactor.add(key)
    async with Mirrors(home / "git", Credentials(ssh_key=key), User()) as mirrors:
        yield Repository(place, mirrors)
