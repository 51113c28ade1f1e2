"""Sends messages to the services of the library apprise, such as Microsoft Teams, Discord, Telegram or ntfy.

The library is an extra of the package, and imported only if a receiver uses it. It is synchronous: a message
is sent in a thread. Its own timeouts end the thread.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipecd.config.notifications import Apprise
from pipecd.errors import ConfigError, Place, Temporary
from pipecd.notify.message import Message, Tone
from pipecd.notify.sinks.email import text_of

EXTRA = "pip install 'pipecd[apprise]'"
#: Of a connection and of each read (seconds).
TIMEOUT = 10.0
_MAX_URLS = 20
_MAX_FILE = 64 * 1024
_TYPES: Mapping[Tone, str] = {
    Tone.INFO: "info",
    Tone.SUCCESS: "success",
    Tone.WARNING: "warning",
    Tone.ERROR: "failure",
}


@dataclass
class AppriseSink:
    services: Sequence[Any]
    urls: Sequence[str]
    #: Key of the newest message, and the services that accepted it: they do not get it again.
    _key: str = ""
    _accepted: set[int] = field(default_factory=set)

    async def __call__(self, message: Message) -> None:
        if message.key != self._key:
            self._key, self._accepted = message.key, set()
        errors = []
        for index, service in enumerate(self.services):
            if index in self._accepted:
                continue
            if error := await asyncio.to_thread(_send, service, message):
                errors.append(f"{_scheme(self.urls[index])} did not accept the message: {error}")
            else:
                self._accepted.add(index)
        if errors:
            # The library does not tell permanent errors from others.
            raise Temporary("; ".join(errors))


def open_apprise(config: Apprise) -> AppriseSink:
    """Raises ConfigError, which names file, line or key, and remedy."""
    urls = read_urls(config)
    return AppriseSink([open_service(url, place) for url, place in urls], [url for url, _ in urls])


def read_urls(config: Apprise) -> Sequence[tuple[str, Place]]:
    """The addresses, with the places where they are configured."""
    urls = [(url, Place(key=f"urls[{n}]")) for n, url in enumerate(config.urls)]
    if config.urls_file:
        file = config.urls_file
        try:
            with Path(file).open("rb") as stream:
                content = stream.read(_MAX_FILE + 1)
            lines = content.decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(
                f"urlsFile of apprise: {file} cannot be read: {reason}",
                remedy="specify a file that the program can read",
            ) from error
        if len(content) > _MAX_FILE:
            raise ConfigError("the file is too large", remedy="write one address a line", place=Place(file))
        urls = [
            (line.strip(), Place(file, number))
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not urls:
            raise ConfigError("the file is empty", remedy="write one address a line", place=Place(file))
    if len(urls) > _MAX_URLS:
        raise ConfigError(
            f"there are {len(urls)} addresses in a receiver; {_MAX_URLS} are allowed",
            remedy="use several receivers",
            place=urls[0][1],
        )
    return urls


def open_service(url: str, place: Place) -> Any:
    """Raises ConfigError. The error does not contain the address, which contains secrets."""
    try:
        import apprise
    except ImportError:
        raise ConfigError(
            "receivers with `apprise` need a package that is not installed",
            remedy=f"install pipecd with the extra apprise: {EXTRA}",
            place=place,
        ) from None
    # Nothing is stored on disk, and secrets do not appear in the library's log.
    asset = apprise.AppriseAsset(app_id="PipeCD", app_desc="PipeCD", secure_logging=True)
    service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is None:
        manager: Any = apprise.NotificationManager
        known = _scheme(url) in manager()
        raise ConfigError(
            f"the {_scheme(url)}:// address is incomplete or wrong"
            if known
            else f"apprise has no service {_scheme(url)!r}",
            remedy="write it as https://appriseit.com/services/ describes",
            place=place,
        )
    service.socket_connect_timeout = service.socket_read_timeout = TIMEOUT
    return service


def _scheme(url: str) -> str:
    return url.partition("://")[0][:40] if "://" in url else "address"


class _Errors(logging.Handler):
    """The library reports errors in its log only: those of one thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread, self.texts = threading.get_ident(), list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.texts.append(record.getMessage())


def _send(service: Any, message: Message) -> str:
    """An error, or empty."""
    logger, errors = logging.getLogger("apprise"), _Errors()
    logger.addHandler(errors)
    try:
        body = text_of(message) or message.title
        sent = service.notify(body=body, title=message.title, notify_type=_TYPES[message.tone])
    except Exception as error:  # noqa: BLE001  # A plugin of the library raises what it likes.
        return f"{type(error).__name__}: {error}"[:500]
    finally:
        logger.removeHandler(errors)
    return "" if sent else (" ".join(errors.texts)[:500] or "no reason was given")
