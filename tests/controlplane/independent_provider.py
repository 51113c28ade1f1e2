"""A provider of OpenID Connect that others wrote: our own could have the same faults as our client.

With Python 3.12 and newer, the tests get a later version of it than with 3.11, with another page.
"""

import warnings
from typing import Any


def start_provider() -> Any:
    """A context manager of a server with the user `ada`, who is in the group `operators`."""
    with warnings.catch_warnings():
        # It uses what its own dependencies have deprecated.
        warnings.simplefilter("ignore")
        import oidc_provider_mock
    claims: dict[str, object] = {"preferred_username": "ada", "groups": ["operators"]}
    user = oidc_provider_mock.User(sub="ada", claims=claims)
    return oidc_provider_mock.run_server_in_thread(require_nonce=True, user_claims=[user])
