"""Keeps one agent running that fits the newest wish which works.

`follow` looks for new wishes and has their version installed while the old agent still runs; `keep` runs one
life of an agent after another. Between them stands what runs next, and nothing else.
"""

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from pipecd.errors import PipecdError, Temporary
from pipecd.launcher.agent import held_port, live
from pipecd.launcher.desired import OWN_VERSION, Wanted, Wishes
from pipecd.launcher.fallback import Life, Past, after, choose
from pipecd.launcher.health import CHECKS_FAILED, FAILURES, STARTS, UP, Pages
from pipecd.launcher.known_good import Memory
from pipecd.launcher.options import Options
from pipecd.launcher.versions import Command, Versions

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A wish whose version is there."""

    wanted: Wanted
    command: Command


class Keeper:
    """`look` (an event) brings the next look forward."""

    def __init__(
        self, options: Options, wishes: Wishes, versions: Versions, memory: Memory, pages: Pages
    ) -> None:
        self._options, self._wishes, self._versions = options, wishes, versions
        self._memory, self._pages = memory, pages
        self._past = Past()
        self._next: Prepared | None = None
        self._changed = asyncio.Event()
        self.look = asyncio.Event()

    async def begin(self, wanted: Wanted) -> None:
        """The first agent is prepared; when its version cannot be had, what else there is."""
        before = [one for one in self._memory.good if self._versions.installed(one)]
        self._past = Past(good=[Wanted(version=one, config=wanted.config) for one in before])
        patience = self._options.patience
        self._pages.doing = f"installing {wanted.version}"
        self._pages.excused(patience.install)
        await self._prepare(wanted)
        self._pages.expected(patience.start)

    async def follow(self) -> None:
        """Looks at each interval, until cancelled. What goes wrong is told once, and changes nothing."""
        told = ""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.check_interval):
                    await self.look.wait()
            self.look.clear()
            try:
                await self._prepare(await self._wishes.look())
                told = ""
            except PipecdError as error:
                CHECKS_FAILED.inc()
                if str(error) != told:
                    told = str(error)
                    log.error("goes on as before", why=told)

    async def keep(self) -> None:
        """One agent after another, until cancelled."""
        failures = 0
        while True:
            prepared = self._next
            assert prepared is not None
            self._changed.clear()
            with held_port() as port:
                life = await self._one_life(prepared, port)
            failures = await self._ended(prepared.wanted, life, failures) if life else 0
            if life is None or life.by_request:
                self._pages.excused(self._options.patience.start)

    async def _prepare(self, wanted: Wanted) -> None:
        """Makes the wish, or what to follow instead of it, the next to run."""
        while True:
            chosen = choose(wanted, self._past, time.monotonic(), own_version=OWN_VERSION)
            if self._next and self._next.wanted == chosen:
                return
            try:
                command = await self._versions.command(chosen.version)
                break
            except PipecdError as error:
                log.error("version cannot be had", version=chosen.version, why=str(error))
                self._refuse(chosen, error)
                if choose(wanted, self._past, time.monotonic(), own_version=OWN_VERSION) == chosen:
                    raise
        log.info("runs next", wish=chosen.name, instead_of=wanted.name if chosen != wanted else None)
        self._next = Prepared(wanted=chosen, command=command)
        self._changed.set()

    async def _one_life(self, prepared: Prepared, port: int) -> Life | None:
        """Its agent answers on `port`. None when something else is to run now."""
        options, wanted = self._options, prepared.wanted
        file = _written(options.home / "piped.yaml", wanted.config)

        async def steady() -> None:
            self._past = self._past.worked(wanted)
            await self._memory.worked(wanted.version)
            self._versions.keep(self._memory.good, coming=self._next.wanted.version if self._next else "")
            log.info("agent is steady", wish=wanted.name)

        log.info("starting agent", wish=wanted.name)
        STARTS.inc()
        self._pages.port, self._pages.version = port, wanted.version
        self._pages.doing = f"{wanted.version} starts"
        life = asyncio.create_task(
            live(
                prepared.command,
                file,
                port,
                forwarded=options.forwarded,
                grace=options.grace_period,
                patience=options.patience,
                steady=steady,
            ),
            name="life",
        )
        changed = asyncio.create_task(self._changed.wait(), name="changed")
        try:
            with UP.track_inprogress():
                await asyncio.wait({life, changed}, return_when=asyncio.FIRST_COMPLETED)
                return life.result() if life.done() else None
        finally:
            changed.cancel()
            life.cancel()
            self._pages.doing = f"{wanted.version} ends"
            await asyncio.wait({life})
            self._pages.port = 0

    async def _ended(self, wanted: Wanted, life: Life, failures: int) -> int:
        """Pauses as long as it takes; the failures in a row of what runs next."""
        step = after(life, failures, self._options.patience)
        if life.by_request:
            log.info("agent ended by request", wish=wanted.name)
        else:
            FAILURES.inc()
            why = "it did not answer" if life.code is None else f"exit code {life.code}"
            log.error("agent ended", wish=wanted.name, why=why, failures=step.failures, again_in=step.pause)
        if step.give_up and self._wishes.answered:
            self._refuse(wanted, None)
            self.look.set()
        self._pages.doing = f"pausing {step.pause:g} s after {wanted.version} ended"
        with suppress(TimeoutError):
            async with asyncio.timeout(step.pause):
                await self._changed.wait()
                return 0
        return step.failures

    def _refuse(self, wanted: Wanted, error: PipecdError | None) -> None:
        """An outage is forgiven at the next look."""
        passing = isinstance(error, Temporary)
        until = self._options.check_interval / 2 if passing else self._options.patience.forgive
        self._past = self._past.failed(wanted, time.monotonic() + until)


def _written(file: Path, config: str) -> Path:
    """The configuration where the agent reads it: in one step, and for nobody else's eyes."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(config)
    return fresh.rename(file)
