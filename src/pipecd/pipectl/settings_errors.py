"""What every command about the project's settings says where they are not available."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipecd.errors import Unsupported


@contextmanager
def of_settings() -> Iterator[None]:
    """Replaces the error of a control plane that serves no settings to API keys, such as PipeCD's."""
    try:
        yield
    except Unsupported:
        raise Unsupported(
            "this control plane does not change settings for API keys; use its console"
        ) from None
