"""Passwords of users: new hashes, and those that PipeCD created."""

import asyncio
import threading
from collections.abc import Callable, Mapping

import bcrypt
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from pipecd.controlplane.auth.passwords import DUMMY_HASH, hash_password, verify_password
from pipecd.controlplane.auth.slow_hashes import SlowHashes
from pipecd.errors import Refused, Temporary

PASSWORD = "a long enough password"
HASHES: Mapping[str, Callable[[], str]] = {
    "new": lambda: hash_password(PASSWORD),
    "of PipeCD": lambda: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode(),
}


@pytest.mark.parametrize("create", HASHES.values(), ids=HASHES)
async def test_only_the_hashed_password_is_accepted(create: Callable[[], str]) -> None:
    stored = create()
    assert await verify_password(PASSWORD, stored)
    assert not await verify_password(PASSWORD + "!", stored)
    assert not await verify_password("", stored)


def test_a_new_password_has_a_minimum_length() -> None:
    assert hash_password("12345678")
    with pytest.raises(Refused, match="fewer than 8 characters"):
        hash_password("1234567")


def test_new_hashes_cost_an_attacker_time_and_memory() -> None:
    """64 MiB and three passes, which RFC 9106 recommends as a minimum."""
    assert "$argon2id$v=19$m=65536,t=3," in hash_password(PASSWORD)


async def test_the_hash_for_unknown_users_costs_as_much_and_matches_nothing() -> None:
    new = hash_password(PASSWORD)
    assert len(DUMMY_HASH) == len(new) and DUMMY_HASH.split("$")[:4] == new.split("$")[:4]
    # Verified to the end: a hash that cannot be decoded is refused in no time.
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(DUMMY_HASH, PASSWORD)
    assert not await verify_password(PASSWORD, DUMMY_HASH)


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$v=19$m=1", "$2b$04$short"])
async def test_a_malformed_hash_matches_no_password(stored: str) -> None:
    assert not await verify_password(PASSWORD, stored)


async def test_many_sign_ins_delay_one_another_and_nothing_else() -> None:
    """What waits has no thread, more than the limit is refused, and who has gone away costs nothing."""
    hashes = SlowHashes("test", threads=1, max_waiting=2)
    started, may_end = threading.Event(), threading.Event()
    checked: list[str] = []

    def check(name: str) -> None:
        checked.append(name)
        started.set()
        may_end.wait()

    try:
        tasks = [asyncio.create_task(hashes.run(check, name)) for name in ("first", "gone away", "last")]
        await asyncio.to_thread(started.wait)
        with pytest.raises(Temporary, match="3 keys or passwords are being checked"):
            await hashes.run(check, "too many")
        assert await asyncio.to_thread(lambda: "served") == "served"
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
    finally:
        may_end.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert checked == ["first", "last"]
    await hashes.run(check, "later")
