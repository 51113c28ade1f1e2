"""Passwords of users: new hashes, and those that PipeCD created."""

import bcrypt
import pytest

from pipecd.controlplane.auth.passwords import hash_password, verify_password

PASSWORD = "a long enough password"
HASHES = {
    "new": hash_password(PASSWORD),
    "of PipeCD": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode(),
}


@pytest.mark.parametrize("stored", HASHES.values(), ids=HASHES)
async def test_only_the_hashed_password_is_accepted(stored: str) -> None:
    assert await verify_password(PASSWORD, stored)
    assert not await verify_password(PASSWORD + "!", stored)
    assert not await verify_password("", stored)


def test_new_hashes_cost_an_attacker_time_and_memory() -> None:
    """64 MiB and three passes, which RFC 9106 recommends as a minimum."""
    assert "$argon2id$v=19$m=65536,t=3," in HASHES["new"]


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$v=19$m=1", "$2b$04$short"])
async def test_a_malformed_hash_matches_no_password(stored: str) -> None:
    assert not await verify_password(PASSWORD, stored)
