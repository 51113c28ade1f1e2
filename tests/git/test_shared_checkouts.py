"""Readers of a commit share one checkout, which is removed when it is not used any more."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from pipecd.errors import Refused
from pipecd.git.shared_checkouts import MAX_PARTS, Checkout, CheckoutSettings, SharedCheckouts
from tests.eventually import eventually


class Writer:
    """Makes checkouts in `folder`, when `proceed` is set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.error: Exception | None = None
        self.made: list[str] = []
        self.attempts = 0
        self.proceed = asyncio.Event()
        self.proceed.set()

    async def __call__(self, remote: str, commit: str, directories: Sequence[str]) -> Checkout:
        self.attempts += 1
        await self.proceed.wait()
        if self.error:
            raise self.error
        self.made.append(commit)
        root = self.folder / f"{commit}-{len(self.made)}"
        root.mkdir()
        return Checkout(root, (), directories)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


async def remaining(writer: Writer, *expected: str) -> None:
    async def as_expected() -> bool:
        return sorted(path.name for path in writer.folder.iterdir()) == sorted(expected)

    await eventually(as_expected)


async def test_a_hundred_readers_share_one_checkout(writer: Writer) -> None:
    shared = SharedCheckouts(writer)

    async def read() -> Path:
        async with shared.open("r", "a") as checkout:
            await asyncio.sleep(0)
            return checkout.root

    assert len({*await asyncio.gather(*(read() for _ in range(100)))}) == 1
    assert ("r", "a") in shared
    await shared.close()
    await remaining(writer)


async def test_few_directories_of_a_commit_get_checkouts_of_their_own(writer: Writer) -> None:
    shared = SharedCheckouts(writer)

    async def directories(number: int) -> Sequence[str]:
        async with shared.open("r", "a", [f"apps/{number}", "base"]) as checkout:
            return checkout.directories

    parts = [await directories(number) for number in range(MAX_PARTS)]
    assert parts[3] == ("apps/3", "base")
    made = len(writer.made)
    assert await directories(0) == ("apps/0", "base")
    assert len(writer.made) == made, "it is shared"
    assert await directories(100) == (), "of very many, all read the whole commit"
    assert await directories(0) == (), "which then serves all"
    async with shared.open("r", "another commit", ["apps/1"]) as checkout:
        assert checkout.directories == ("apps/1",)
    await shared.close()
    await remaining(writer)


async def test_few_unused_checkouts_are_kept_and_a_used_one_is_never_removed(writer: Writer) -> None:
    shared = SharedCheckouts(writer)
    async with shared.open("r", "used"):
        for commit in "abcd":
            async with shared.open("r", commit):
                pass
        await remaining(writer, "used-1", "d-5", "c-4")
    await remaining(writer, "used-1", "d-5")
    await shared.close()
    await remaining(writer)


async def test_an_unused_checkout_is_removed_after_a_while(writer: Writer) -> None:
    shared = SharedCheckouts(writer, CheckoutSettings(unused_duration=0.0))
    async with shared.open("r", "a"):
        pass
    await remaining(writer)
    assert ("r", "a") not in shared


async def open_and_fail(shared: SharedCheckouts, error: type[Exception]) -> Exception:
    with pytest.raises(error) as caught:
        async with shared.open("r", "a"):
            pass
    return caught.value


async def test_a_checkout_that_cannot_be_made_is_not_tried_for_each_reader(writer: Writer) -> None:
    shared = SharedCheckouts(writer)
    writer.error = Refused("the submodule x has no URL", remedy="add it")
    errors = [await open_and_fail(shared, Refused) for _ in range(100)]
    assert {str(error) for error in errors} == {"the submodule x has no URL; add it"}
    assert writer.attempts == 1 and len(set(map(id, errors))) == 100
    await shared.close()


async def test_a_checkout_that_could_not_be_made_is_tried_again_after_a_while(writer: Writer) -> None:
    shared = SharedCheckouts(writer, CheckoutSettings(failed_duration=0.0))
    writer.error = Refused("the submodule x has no URL", remedy="add it")
    await open_and_fail(shared, Refused)
    writer.error = None

    async def made() -> bool:
        with suppress(Refused):
            async with shared.open("r", "a") as checkout:
                return checkout.root.exists()
        return False

    await eventually(made)
    await shared.close()
    await remaining(writer)


async def test_a_checkout_that_failed_by_an_internal_error_is_made_again(writer: Writer) -> None:
    shared = SharedCheckouts(writer)
    writer.error = ValueError("a fault")
    for _ in range(2):
        await open_and_fail(shared, ValueError)
    assert writer.attempts == 2
    writer.error = None
    async with shared.open("r", "a") as checkout:
        assert checkout.root.exists()
    await shared.close()


async def test_a_reader_that_is_cancelled_does_not_disturb_others(writer: Writer) -> None:
    shared = SharedCheckouts(writer)

    async def read() -> Path:
        async with shared.open("r", "a") as checkout:
            return checkout.root

    writer.proceed.clear()
    first, second = asyncio.create_task(read()), asyncio.create_task(read())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    writer.proceed.set()
    assert await second
    writer.proceed.clear()
    alone = asyncio.create_task(shared.open("r", "b").__aenter__())
    await asyncio.sleep(0)
    alone.cancel()
    await asyncio.wait([alone])
    assert ("r", "b") not in shared
    await shared.close()
    await remaining(writer)
