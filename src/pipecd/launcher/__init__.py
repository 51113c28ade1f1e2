"""Runs the agent in the version that the control plane asks for, with the newest configuration.

`run` is the table of contents. Called by `cli`. The agent is a process of its own, in an environment of
its own; what it was doing when it is exchanged, the next one takes up.
"""

import asyncio
import signal
from contextlib import AsyncExitStack

import structlog

from pipecd.admin_port import served
from pipecd.config.sources import Source
from pipecd.launcher.desired import OWN_VERSION, Wishes
from pipecd.launcher.health import Pages
from pipecd.launcher.known_good import Memory, own_folder
from pipecd.launcher.options import Options
from pipecd.launcher.release import releases_at
from pipecd.launcher.supervisor import Keeper
from pipecd.launcher.versions import Versions
from pipecd.retry import Retry
from pipecd.retry import call as retried

log = structlog.get_logger()

#: The network of a container may come up after its first process.
START = Retry(base=1.0, cap=5.0, tries=4)


async def run(source: Source, options: Options) -> None:
    """Work until cancelled; then the agent has ended too.

    Raises ConfigError when there is no usable configuration at the start, or the control plane refuses us;
    Temporary when the configuration's source stays away.
    """
    patience = options.patience
    async with AsyncExitStack() as held:
        home = held.enter_context(own_folder(options.home))
        memory = Memory(home)
        versions = Versions(
            home, releases_at(options.releases, options.release_key_file), timeout=patience.install
        )
        known = next((one for one in memory.good if one == OWN_VERSION or versions.installed(one)), "")
        wishes = Wishes(source, options.transport, default=options.default_version, known=known)
        held.push_async_callback(wishes.close)
        wanted = await retried(wishes.look, START, before_retry=_again)
        pages = Pages(silence=patience.silence)
        port = await held.enter_async_context(served(pages, options.admin_host, options.admin_port))
        if options.launcher_admin_port:
            await held.enter_async_context(served(pages, options.admin_host, options.launcher_admin_port))
        log.info("launcher started", version=OWN_VERSION, wish=wanted.name, admin_port=port)
        keeper = Keeper(options, wishes, versions, memory, pages)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, keeper.look.set)
        await keeper.begin(wanted)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keeper.follow(), name="follow")
            tasks.create_task(keeper.keep(), name="keep")


def _again(error: Exception, pause: float) -> None:
    log.warning("the configuration's source is away", why=str(error), again_in=round(pause, 1))
