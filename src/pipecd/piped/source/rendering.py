"""Renders secrets and attachments into a checkout: `encryption` and `attachment` of an application's file.

Called by `checkout` for every checkout, so that deployments, drift detection and previews see the same files.
Every form that a secret takes in a file is registered with the redactor first. Each checkout has a single
user; nothing outside the application's directory is read or written.
"""

import base64
import os
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path

from pipecd.config.application import ApplicationConfig
from pipecd.config.document import parse
from pipecd.encryption import Decryptor
from pipecd.errors import ConfigError, Place, Refused
from pipecd.templates import MAX_LENGTH, render

Values = dict[str, Mapping[str, str]]


class Renderer:
    """`decryptor` is None if the agent has no key pair; `register_secret` gets every text to be redacted."""

    def __init__(self, decryptor: Decryptor | None, register_secret: Callable[[str], None]) -> None:
        self._decryptor, self._register_secret = decryptor, register_secret

    def render(self, root: Path, directory: Path, config: ApplicationConfig) -> None:
        """Render secrets first, then attachments, which may contain files that the first step rendered.

        Raises ConfigError or Refused, with the position. Reads and writes files: call it in a thread.
        """
        spec = config.spec
        files = _Files(root.resolve(), directory, config)
        values: Values = {}
        if spec.encryption:
            values["encryptedSecrets"] = self._decrypt_all(spec.encryption.encrypted_secrets, files)
            # A file in both lists is rendered once, with both.
            both = (
                {*spec.attachment.targets} - {*spec.attachment.sources.values()} if spec.attachment else set()
            )
            self._render_targets(
                spec.encryption.decryption_targets, values, files, "encryption.decryptionTargets", skip=both
            )
        if spec.attachment:
            sources = spec.attachment.sources
            values["attachment"] = {
                name: files.read(path, ("attachment", "sources", name)) for name, path in sources.items()
            }
            self._render_targets(spec.attachment.targets, values, files, "attachment.targets")

    def _decrypt_all(self, secrets: Mapping[str, str], files: "_Files") -> Mapping[str, str]:
        return {name: self._decrypt(name, encrypted, files) for name, encrypted in secrets.items()}

    def _decrypt(self, name: str, encrypted: str, files: "_Files") -> str:
        place = files.place(("encryption", "encryptedSecrets", name))
        if self._decryptor is None:
            raise Refused(
                "this agent has no key pair, so it cannot decrypt secrets",
                remedy="write spec.secretManagement into the agent's file, and encrypt the secret again",
                place=place,
            )
        try:
            plain = self._decryptor.decrypt(encrypted)
        except ConfigError as error:
            raise ConfigError(error.what, remedy=error.remedy, place=place) from None
        text = plain.decode(errors="surrogateescape")
        for form in (text, *_base64_decoded(text)):
            self._register_secret(form)
        return text

    def _render_targets(
        self,
        targets: Sequence[str],
        values: Values,
        files: "_Files",
        key: str,
        *,
        skip: Set[str] = frozenset(),
    ) -> None:
        for number, name in enumerate(targets):
            if name in skip:
                continue
            path: Sequence[str | int] = [*key.split("."), number]
            rendered = render(files.read(name, path), values, files.display_path(name))
            # An attachment is not a secret; secrets inside it were registered when they were rendered.
            for text in rendered.inserted.get("encryptedSecrets", ()):
                self._register_secret(text)
            files.write(name, path, rendered.text)


class _Files:
    """Regular files of the application's directory, named as in the application's file."""

    def __init__(self, root: Path, directory: Path, config: ApplicationConfig) -> None:
        self._root, self._directory, self._config = root, directory.resolve(), config

    def read(self, name: str, key: Sequence[str | int]) -> str:
        path = self._path(name, key)
        if path.stat().st_size > MAX_LENGTH:
            raise Refused(
                f"{name} has more than {MAX_LENGTH >> 20} MiB",
                remedy="render secrets and attachments into smaller files",
                place=self.place(key),
            )
        return path.read_bytes().decode(errors="surrogateescape")

    def write(self, name: str, key: Sequence[str | int], text: str) -> None:
        self._path(name, key).write_bytes(text.encode(errors="surrogateescape"))

    def display_path(self, name: str) -> str:
        """The file's path in the repository, for error messages."""
        return str((self._directory / name).relative_to(self._root))

    def place(self, key: Sequence[str | int]) -> Place:
        """The position of `key` below `spec` in the application's file."""
        try:
            text = (self._root / self._config.file).read_text()
        except (OSError, UnicodeDecodeError):
            return Place(self._config.file)
        return parse(text, self._config.file).place(("spec", *key))

    def _path(self, name: str, key: Sequence[str | int]) -> Path:
        # `resolve` raises for a link to itself.
        path = Path(os.path.realpath(self._directory / name))
        if not path.is_relative_to(self._directory):
            raise Refused(
                f"{name} points outside the application's directory",
                remedy="name a file inside it that is not a link to the outside",
                place=self.place(key),
            )
        if not path.is_file():
            raise ConfigError(
                f"there is no file {name}",
                remedy="write it, or correct the path, which is relative to the application's directory",
                place=self.place(key),
            )
        return path


def _base64_decoded(text: str) -> Sequence[str]:
    """The decoded form of a secret that was base64-encoded before encryption; otherwise nothing."""
    try:
        return [base64.b64decode(text.strip(), validate=True).decode()]
    except ValueError:
        return []
