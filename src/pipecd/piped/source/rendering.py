"""Brings secrets and attachments into a checkout: `encryption` and `attachment` of an application's file.

Called by `source` for every checkout, so that deployments, drift and previews see the same files. Whatever a
secret becomes on its way into a file is made known to the redactor first. The checkout is one work's own;
nothing outside the application's directory is read or written.
"""

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipecd.config.application import ApplicationConfig
from pipecd.config.document import parse
from pipecd.encryption import Opener
from pipecd.errors import ConfigError, Place, Refused
from pipecd.templates import render

Values = dict[str, Mapping[str, str]]


class Rendering:
    """`opener` is None where the agent has no key pair; `hide` takes every text that nobody may read."""

    def __init__(self, opener: Opener | None, hide: Callable[[str], None]) -> None:
        self._opener, self._hide = opener, hide

    def render(self, root: Path, directory: Path, config: ApplicationConfig) -> None:
        """Secrets first, then attachments, which may hold what the first step rendered.

        Raises ConfigError or Refused, with the place. It reads and writes files: call it in a thread.
        """
        spec = config.spec
        files = _Files(root.resolve(), directory, config)
        values: Values = {}
        if spec.encryption:
            values["encryptedSecrets"] = self._secrets(spec.encryption.encrypted_secrets, files)
            self._targets(spec.encryption.decryption_targets, values, files, "encryption.decryptionTargets")
        if spec.attachment:
            sources = spec.attachment.sources
            values["attachment"] = {
                name: files.read(path, ("attachment", "sources", name)) for name, path in sources.items()
            }
            self._targets(spec.attachment.targets, values, files, "attachment.targets")

    def _secrets(self, sealed: Mapping[str, str], files: "_Files") -> Mapping[str, str]:
        return {name: self._opened(name, text, files) for name, text in sealed.items()}

    def _opened(self, name: str, sealed: str, files: "_Files") -> str:
        place = files.place(("encryption", "encryptedSecrets", name))
        if self._opener is None:
            raise Refused(
                "this agent has no key pair, so it can open no secret",
                remedy="write spec.secretManagement into the agent's file, and seal the secret again",
                place=place,
            )
        try:
            plain = self._opener.open(sealed)
        except ConfigError as error:
            raise ConfigError(error.what, remedy=error.remedy, place=place) from None
        text = plain.decode(errors="surrogateescape")
        for form in (text, *_decoded(text)):
            self._hide(form)
        return text

    def _targets(self, targets: Sequence[str], values: Values, files: "_Files", key: str) -> None:
        for number, name in enumerate(targets):
            path: Sequence[str | int] = [*key.split("."), number]
            rendered = render(files.read(name, path), values, files.shown(name))
            # An attachment is no secret; a secret inside it is known by itself.
            for text in rendered.inserted.get("encryptedSecrets", ()):
                self._hide(text)
            files.write(name, path, rendered.text)


class _Files:
    """Regular files of the application's directory, by the names that its file gives them."""

    def __init__(self, root: Path, directory: Path, config: ApplicationConfig) -> None:
        self._root, self._directory, self._config = root, directory.resolve(), config

    def read(self, name: str, key: Sequence[str | int]) -> str:
        return self._path(name, key).read_bytes().decode(errors="surrogateescape")

    def write(self, name: str, key: Sequence[str | int], text: str) -> None:
        self._path(name, key).write_bytes(text.encode(errors="surrogateescape"))

    def shown(self, name: str) -> str:
        """What errors call a file: its path in the repository."""
        return str((self._directory / name).relative_to(self._root))

    def place(self, key: Sequence[str | int]) -> Place:
        """Where `key` below `spec` stands in the application's file."""
        try:
            text = (self._root / self._config.file).read_text()
        except (OSError, UnicodeDecodeError):
            return Place(self._config.file)
        return parse(text, self._config.file).place(("spec", *key))

    def _path(self, name: str, key: Sequence[str | int]) -> Path:
        # Not `resolve`, which fails for a link to itself.
        path = Path(os.path.realpath(self._directory / name))
        if not path.is_relative_to(self._directory):
            raise Refused(
                f"{name} leads out of the application's directory",
                remedy="name a file inside it, and no link that leads away",
                place=self.place(key),
            )
        if not path.is_file():
            raise ConfigError(
                f"there is no file {name}",
                remedy="write it, or correct the path, which is relative to the application's directory",
                place=self.place(key),
            )
        return path


def _decoded(text: str) -> Sequence[str]:
    """What a secret means that was encoded with base64 before it was sealed."""
    try:
        return [base64.b64decode(text.strip(), validate=True).decode()]
    except ValueError:
        return []
