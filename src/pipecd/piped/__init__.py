"""The agent: watches Git and the control plane, and deploys applications at the commits in Git.

`run` starts every loop of the agent by name in one task group. Called by `cli` and the quickstart.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import structlog

from pipecd import __version__
from pipecd.client import Client
from pipecd.clock import timeout
from pipecd.config.piped import PipedSpec, piped_key
from pipecd.git.credentials import User
from pipecd.git.mirror import Mirrors
from pipecd.git.other_repositories import OtherRepositories
from pipecd.model.notification import PipedEvent, PipedStarted, PipedStopped
from pipecd.piped import traces
from pipecd.piped.admin import health_check, serve
from pipecd.piped.credentials import chart_ssh_keys, configured_secrets, git_credentials
from pipecd.piped.deploy.sealed_objects import EncryptedObjects
from pipecd.piped.deploy.stage_logs import StageLogs
from pipecd.piped.deploy.workers import Workers
from pipecd.piped.downloads import configured_downloads
from pipecd.piped.home_directory import lock_home_directory
from pipecd.piped.key_pair import load_key_pair
from pipecd.piped.loop import Wake, repeat
from pipecd.piped.notify import reports
from pipecd.piped.notify.configured import configured_receivers
from pipecd.piped.notify.notifier import Notifier
from pipecd.piped.observe import memory
from pipecd.piped.observe.memory import PlatformMemories
from pipecd.piped.options import Options
from pipecd.piped.platform_availability import log_platforms
from pipecd.piped.provider_check import check_providers
from pipecd.piped.providers import Providers
from pipecd.piped.session import heartbeat, stats
from pipecd.piped.session.connect import connect_and_register
from pipecd.piped.session.meta import Identity
from pipecd.piped.session.polling import Wakes, poll
from pipecd.piped.session.watch import ChangeHandlers, watch
from pipecd.piped.source.rendering import Renderer
from pipecd.piped.wiring import Components, build_components
from pipecd.platforms import Memory
from pipecd.platforms.connections import connection_pool
from pipecd.platforms.registry import load_platforms
from pipecd.platforms.stage_tables import check_tables
from pipecd.telemetry import redactor
from pipecd.watchdog import Watchdog

log = structlog.get_logger()

Loop = Coroutine[Any, Any, None]


async def run(spec: PipedSpec, options: Options | None = None) -> None:
    """Runs until cancelled, which is a shutdown, not a failure: the next process continues unfinished work.

    Returns when a user requested a restart. Raises ConfigError for errors that the operator can fix, and
    Temporary if the control plane cannot be reached at startup.
    """
    options = options or Options()
    check_tables(load_platforms({provider.type for provider in spec.providers}))
    key = piped_key(spec)
    credentials = git_credentials(spec)
    ssh_keys = chart_ssh_keys(spec)
    key_pair = load_key_pair(spec)
    for secret in (
        key,
        *ssh_keys.values(),
        *credentials.secrets,
        *configured_secrets(spec),
        key_pair.private if key_pair else "",
    ):
        redactor.add(secret)
    log_platforms(spec)
    user = User(name=spec.git.username, email=spec.git.email)
    async with AsyncExitStack() as exit_stack:
        await exit_stack.enter_async_context(connection_pool(options.clock))
        home = exit_stack.enter_context(lock_home_directory(options.home, spec.piped_id))
        remotes = [repository.remote for repository in spec.repositories]
        mirrors = await exit_stack.enter_async_context(
            Mirrors(home, credentials, user, remotes=remotes, submodule_hosts=spec.git.submodule_hosts)
        )
        spans = exit_stack.enter_context(traces.recording(spec, options.clock))
        public_key = key_pair.public if key_pair else ""
        providers = Providers(spec)
        notices = await check_providers(spec, providers, options.clock)
        client, instance, identity = await exit_stack.enter_async_context(
            connect_and_register(spec, key, options, public_key, notices)
        )
        if spans:
            await exit_stack.enter_async_context(traces.sending_spans(spec, spans, client, options.clock))
        # The directory is emptied at startup, which removes the checkouts of a killed process.
        other_repositories = OtherRepositories(
            home=home / "worktrees", user=user, trees=mirrors.trees, ssh_keys=ssh_keys
        )
        renderer = Renderer(key_pair.decryptor if key_pair else None, redactor.add)
        receivers = exit_stack.enter_context(
            configured_receivers(
                spec,
                identity.web_address,
                home / "notifications.db",
                redactor.add,
                options.clock,
                options.settings.notifier,
            )
        )
        components = build_components(
            spec,
            options,
            client,
            mirrors,
            other_repositories,
            EncryptedObjects(client, key, home / "kept"),
            renderer,
            configured_downloads(spec, home / "cache", other_repositories.checkout),
            providers,
            receivers,
            identity.web_address,
        )
        health = health_check(
            client,
            components.rollout_services.active_deployments,
            options.clock,
            options.settings.unreachable_timeout,
        )
        watchdog = Watchdog()
        await exit_stack.enter_async_context(watchdog.watching())
        port = await exit_stack.enter_async_context(
            serve(health, watchdog, options.admin_host, options.admin_port)
        )
        exit_stack.push_async_callback(_flush_logs, components.rollout_services.stage_services.logs, options)
        log.info("agent_started", name=identity.name, version=__version__, admin_port=port)
        exit_stack.push_async_callback(components.notifier.flush)
        exit_stack.enter_context(_lifecycle_events(spec, options, identity, instance, components.notifier))
        memories = PlatformMemories(home / "platforms", _memories(spec))
        await memories.load()
        exit_stack.push_async_callback(memories.save)
        loops = _loops(spec, options, client, instance, components, memories)
        await _run_loops(loops, until=components.restart)


@contextmanager
def _lifecycle_events(
    spec: PipedSpec, options: Options, identity: Identity, instance: str, notifier: Notifier
) -> Iterator[None]:
    """Notifies that the agent was started, and at the end of the block that it was stopped."""

    def notify(event_type: type[PipedEvent]) -> None:
        event = event_type(
            at=int(options.clock.now()),
            piped_id=spec.piped_id,
            piped_name=identity.name or spec.piped_id,
            project_id=spec.project_id,
            version=__version__,
            instance=instance,
        )
        notifier(event)

    notify(PipedStarted)
    try:
        yield
    finally:
        notify(PipedStopped)


def _memories(spec: PipedSpec) -> Mapping[str, Memory]:
    platforms = load_platforms({provider.type for provider in spec.providers})
    return {kind: platform.memory for kind, platform in platforms.items() if platform.memory}


def _loops(
    spec: PipedSpec,
    options: Options,
    client: Client,
    instance: str,
    components: Components,
    memories: PlatformMemories,
) -> Mapping[str, Loop]:
    """The agent's loops by name; each runs until cancelled."""
    clock, settings = options.clock, options.settings
    view, leadership = components.rollout_services.view, components.rollout_services.leadership
    wakes, discovery_wake = Wakes(view.request_refresh), Wake()

    def on_repository_change(remote: str) -> None:
        components.trigger_loop.schedule_check(remote)
        discovery_wake()
        components.event_watcher.check_soon(remote)

    handlers = ChangeHandlers(
        applications=wakes.applications,
        deployments=wakes.deployments,
        commands=wakes.commands,
        events=components.event_watcher.check_soon,
        repository=on_repository_change,
        resource_request=components.resource_requests.begin,
        request_cancelled=components.resource_requests.cancel,
    )
    return {
        "view": poll(view, leadership, wakes, clock, settings.polling),
        "watch": watch(client, instance, handlers, leadership, clock, settings.watch),
        "trigger": components.trigger_loop.run(),
        "workers": Workers(components.rollout_services).dispatch(),
        "commands": repeat(
            "commands",
            components.command_responder.answer_pending,
            clock=clock,
            interval=settings.polling.full_refresh_interval,
            wake=Wake(),
            feeds=(view.commands_feed, leadership.feed),
        ),
        "plan previews": components.plan_preview_loop.run(),
        "live state": components.live_state_reporter.run(),
        "drift": components.drift_detector.run(),
        "platform watches": components.platform_watches.run(),
        "resource requests": components.resource_requests.run(),
        "events": components.event_watcher.run(),
        "discovery": repeat(
            "discovery",
            components.discovery.check,
            clock=clock,
            interval=spec.app_config_sync_interval.total_seconds(),
            wake=discovery_wake,
            feeds=(leadership.feed,),
        ),
        "stats": repeat(
            "stats",
            lambda: stats.report_stat(client),
            clock=clock,
            interval=stats.INTERVAL,
            wake=Wake(),
        ),
        "heartbeat": repeat(
            "heartbeat",
            heartbeat.Heartbeat(client, instance).send,
            clock=clock,
            interval=heartbeat.INTERVAL,
            wake=Wake(),
            feeds=(leadership.feed,),
        ),
        "platform memories": repeat(
            "platform memories", memories.save, clock=clock, interval=memory.INTERVAL, wake=Wake()
        ),
        "logs": components.rollout_services.stage_services.logs.run(),
        "notifications": components.notifier.run(),
        "receivers": repeat(
            "receivers",
            components.receiver_reports.report,
            clock=clock,
            interval=reports.INTERVAL,
            wake=Wake(),
            feeds=(leadership.feed, components.receiver_reports.changed),
        ),
    }


async def _run_loops(loops: Mapping[str, Loop], until: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(loop, name=name) for name, loop in loops.items()]
        await until.wait()
        for task in started:
            task.cancel()


async def _flush_logs(logs: StageLogs, options: Options) -> None:
    """Sends the lines that are not stored yet. No stage is reported as failed."""
    seconds = options.settings.shutdown_flush_timeout
    try:
        async with timeout(options.clock, seconds):
            await logs.flush()
    except TimeoutError:
        log.warning("stage_logs_not_flushed", timeout_seconds=seconds)
    log.info("agent_stopped")
