"""A limit of stages that use one provider at the same time."""

import asyncio

from pipecd.piped.deploy.call_slots import CallSlots


async def test_a_provider_that_does_not_answer_delays_no_other() -> None:
    slots, inside, release = CallSlots(2), list[str](), asyncio.Event()

    async def call(provider: str, name: str, until: asyncio.Event | None) -> None:
        async with slots.slot("KUBERNETES", provider):
            inside.append(name)
            if until:
                await until.wait()

    hanging = [asyncio.create_task(call("a", f"a{number}", release)) for number in range(4)]
    await asyncio.sleep(0)
    await asyncio.gather(*(call("b", f"b{number}", None) for number in range(4)))
    assert sorted(inside) == ["a0", "a1", "b0", "b1", "b2", "b3"]
    hanging[2].cancel()
    release.set()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert sorted(inside)[:3] == ["a0", "a1", "a3"]
