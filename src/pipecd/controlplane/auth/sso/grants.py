"""What a provider gives with a sign-in, so that it can be asked about the user again."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pipecd.json_input import decode_json

#: Maximum size of a grant, in bytes; a larger one is not stored.
MAX_SIZE = 32 * 1024
#: Access tokens are not used in the last seconds before they expire.
_MARGIN = 30.0


@dataclass(frozen=True, kw_only=True)
class Grant:
    """`subject` is the provider's id of the user. `expires_at`: of the access token; 0 if it is not known.

    `groups_in` is the document that had the groups at the sign-in: `id_token`, `user_info`, or empty.
    """

    subject: str
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    groups_in: str = ""

    def access_is_valid(self, now: float) -> bool:
        return bool(self.access_token) and not 0 < self.expires_at <= now + _MARGIN

    def renewed(self, tokens: Mapping[str, Any], now: float) -> "Grant":
        """With the tokens of a response of the token endpoint. A refresh token stays if it sends none."""
        lifetime = tokens.get("expires_in")
        numeric = isinstance(lifetime, int | float) and 0 < lifetime < 1e9
        return replace(
            self,
            access_token=_text(tokens.get("access_token")),
            refresh_token=_text(tokens.get("refresh_token")) or self.refresh_token,
            expires_at=now + float(lifetime or 0) if numeric else 0.0,
        )

    def to_json(self) -> str:
        """Empty if it is too large to be stored, or has no token."""
        if not self.access_token and not self.refresh_token:
            return ""
        text = json.dumps(asdict(self), separators=(",", ":"))
        return text if len(text) <= MAX_SIZE else ""

    @classmethod
    def from_json(cls, text: str) -> "Grant":
        return cls(**decode_json(text))


#: Stores renewed tokens at once: the provider may have invalidated the earlier ones.
StoreGrant = Callable[[Grant], Awaitable[None]]


class GrantEnded(Exception):
    """The provider does not accept the grant any more: it has ended the user's sign-in, or the user."""


class CannotAsk(Exception):
    """The grant has no means to ask the provider again."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
