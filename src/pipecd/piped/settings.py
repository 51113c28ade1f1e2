"""Times and limits of the agent that are not part of its configuration file.

One dataclass for each component; `Settings` is given to it through `Options`. Only tests change the defaults.
"""

from dataclasses import dataclass, field

from pipecd.client import DIAL_TIMEOUT
from pipecd.retry import Retry


@dataclass(frozen=True, kw_only=True)
class ConnectSettings:
    """Connecting at startup (`session.connect`)."""

    #: Timeout of one attempt (seconds).
    dial_timeout: float = DIAL_TIMEOUT
    #: About a minute in total; then the process ends, so that its supervisor reports the failure.
    dial_retry: Retry = Retry(base=1.0, cap=10.0, tries=4)


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """The stream of changes (`session.watch`)."""

    #: The control plane sends something at least every 15 s; a longer silence is a dead connection (seconds).
    silence_timeout: float = 40.0
    #: Capped low, because the lease expires while the stream is down.
    reconnect_retry: Retry = Retry(base=0.5, cap=10.0, tries=None)
    #: Interval at which a control plane without the stream is checked for an upgrade (seconds).
    unsupported_interval: float = 300.0


@dataclass(frozen=True, kw_only=True)
class PollingSettings:
    """Refreshing the view (`session.polling`)."""

    #: Interval at which everything is read again, in case a change notification was lost (seconds).
    full_refresh_interval: float = 60.0
    #: Pause after a refresh: a multiple of the time that it took, and its limit (seconds).
    refresh_pause_factor: float = 2.0
    max_refresh_pause: float = 2.0
    #: Intervals while there is no stream of changes (seconds): a user waits for commands.
    commands_interval: float = 5.0
    deployments_interval: float = 10.0


@dataclass(frozen=True, kw_only=True)
class StageLogSettings:
    """Sending stage logs (`deploy.stage_logs`)."""

    #: How long lines are collected before they are sent (seconds): lines appear within a second.
    batch_delay: float = 0.15
    #: Between checkpoints, which store the lines and free the buffer (seconds).
    checkpoint_interval: float = 120.0
    #: Delays after a failure. Capped low: users watch the log when the control plane is back.
    retry: Retry = Retry(base=0.5, cap=5.0, tries=None)
    #: How long the end of a stage waits for its log to be stored (seconds).
    store_timeout: float = 5.0
    #: Limit of a block in characters: PipeCD's reader rejects lines over 64 KiB of JSON.
    max_block_length: int = 10_000
    #: Limit of a call in bytes: gRPC messages are limited to 4 MiB.
    max_call_size: int = 1_000_000
    #: Limit in bytes of the lines of one stage that are not stored yet: memory during an outage. When half of
    #: it is used, programs wait before they write more.
    max_buffered: int = 8_000_000
    #: How long a program waits for that (seconds). Then lines are dropped: holding up a Terraform apply for
    #: a whole outage does more harm than a log with a gap.
    space_timeout: float = 120.0


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """Calling stages (`deploy.perform`)."""

    #: Delays between calls of a stage that fails temporarily.
    retry: Retry = Retry(base=1.0, cap=60.0, tries=None)
    #: How long a stage may keep failing temporarily before it fails (seconds): longer than most outages.
    retry_timeout: float = 30 * 60.0
    #: How long ending the work that a stopped stage has started may take (seconds): the rollback waits for
    #: it.
    stop_timeout: float = 30.0
    #: How often a stage may be called in a row without a delay, for stages that store a result after each
    #: of their effects.
    max_immediate_calls: int = 20
    #: After that, the least delay between two calls (seconds), so that no stage keeps a core busy.
    min_call_interval: float = 1.0
    #: Stages that use one platform provider at the same time, except those that run programs: the manifests
    #: of each take about a megabyte of memory.
    max_calls_per_provider: int = 64


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """Running deployments (`deploy.rollout`, `deploy.workers`)."""

    #: Delays after the control plane rejected a report, or Git was unreachable during planning.
    retry: Retry = Retry(base=0.5, cap=30.0, tries=None)
    #: How often planning is tried while Git cannot be read; with these delays, for about an hour.
    max_planning_attempts: int = 240
    #: Delays before a worker retries a deployment after an error.
    worker_retry: Retry = Retry(base=1.0, cap=60.0, tries=None)
    #: How often a deployment that waits for its turn in a deployment chain checks for it (seconds).
    chain_poll_interval: float = 3.0


@dataclass(frozen=True, kw_only=True)
class TriggerSettings:
    """Checking repositories (`trigger.loop`)."""

    #: After this long, a repository that cannot be read is shown on its applications, and requests to sync
    #: them are rejected (seconds): longer than the restart of a Git server.
    unreadable_timeout: float = 45.0


@dataclass(frozen=True, kw_only=True)
class NotifierSettings:
    """Delivering notifications (`notify.notifier`)."""

    #: Events that wait for one sink; of more, the oldest are lost for that sink. Limits memory.
    max_queued: int = 1000
    #: Keys of emitted events that are remembered, so that an event is delivered once: about 2 MB.
    max_remembered_keys: int = 10_000
    #: Timeout of the delivery of one event by one sink (seconds), so that a sink recovers after it hung.
    delivery_timeout: float = 30.0
    #: A message that a receiver did not accept is given up after this time (seconds).
    max_age: float = 24 * 3600.0
    #: Timeout for delivering what is queued at shutdown (seconds), within the grace period.
    flush_timeout: float = 10.0


@dataclass(frozen=True, kw_only=True)
class LiveStateSettings:
    """Reporting live states (`observe.live_state`). None stands for the platform's own interval."""

    #: Interval of checks (seconds).
    interval: float | None = None
    #: The same while a deployment runs (seconds).
    interval_deploying: float | None = None


@dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """Detecting drift (`observe.drift`)."""

    #: Interval of comparisons (seconds). None stands for the platform's own.
    interval: float | None = None
    #: How long the result for an idle application is reused, in multiples of the platform's drift interval.
    max_reuse_intervals: int = 5


@dataclass(frozen=True, kw_only=True)
class DesiredStateSettings:
    """Reading desired states for live state and drift (`observe.desired_state`)."""

    #: Memory for packed desired states (bytes): several thousand applications of usual size.
    max_cache_bytes: int = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class PlatformWatchSettings:
    """Following platforms in the background (`observe.watches`)."""

    #: How often it is checked which providers are to be watched, besides at every change (seconds).
    interval: float = 60.0
    #: Delays before a watch that failed is started again.
    retry: Retry = Retry(base=1.0, cap=60.0, tries=None)
    #: The least of these delays (seconds), so that a watch that fails at once does not keep a core busy.
    min_delay: float = 0.5
    #: A watch that ran for this long had been successful (seconds): the delays begin again.
    reset_after: float = 60.0


@dataclass(frozen=True, kw_only=True)
class ResourceRequestSettings:
    """Answering users' requests about resources (`observe.details`)."""

    #: Requests that are answered at the same time, logs included; the control plane has the same limit.
    max_requests: int = 32
    #: How long reading details may take (seconds): less than the control plane waits.
    timeout: float = 12.0
    #: A log is followed for so long (seconds), also if the control plane does not cancel the request: longer
    #: than it follows one.
    max_log_duration: float = 3900.0
    #: How long lines are collected before they are sent (seconds): lines appear within half a second.
    batch_delay: float = 0.2
    #: Of the lines that are sent together (characters).
    max_batch_size: int = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class EventSettings:
    """The event watcher (`events.watcher`)."""

    #: Delays before a change is computed again, because the branch moved: two minutes in all.
    conflict_retry: Retry = Retry(base=0.1, cap=5.0, tries=50)


@dataclass(frozen=True, kw_only=True)
class Settings:
    connect: ConnectSettings = field(default_factory=ConnectSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    polling: PollingSettings = field(default_factory=PollingSettings)
    stage_logs: StageLogSettings = field(default_factory=StageLogSettings)
    stages: StageSettings = field(default_factory=StageSettings)
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    trigger: TriggerSettings = field(default_factory=TriggerSettings)
    notifier: NotifierSettings = field(default_factory=NotifierSettings)
    live_state: LiveStateSettings = field(default_factory=LiveStateSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)
    desired_states: DesiredStateSettings = field(default_factory=DesiredStateSettings)
    platform_watches: PlatformWatchSettings = field(default_factory=PlatformWatchSettings)
    resource_requests: ResourceRequestSettings = field(default_factory=ResourceRequestSettings)
    events: EventSettings = field(default_factory=EventSettings)
    #: An idle agent is unhealthy once the control plane has been unreachable for this long (seconds): longer
    #: than an upgrade of the control plane.
    unreachable_timeout: float = 180.0
    #: Timeout for sending the remaining stage logs at shutdown (seconds), within the grace period.
    shutdown_flush_timeout: float = 10.0
