"""What a command says at a control plane that does not have its call, such as PipeCD's."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pipecd.errors import Unsupported


@contextmanager
def unsupported_means(sentence: str) -> Iterator[None]:
    """Replaces Unsupported, which names the call, by one with `sentence`."""
    try:
        yield
    except Unsupported:
        raise Unsupported(sentence) from None


#: For every command about the project's settings.
of_settings = partial(
    unsupported_means, "this control plane does not change settings for API keys; use its console"
)
