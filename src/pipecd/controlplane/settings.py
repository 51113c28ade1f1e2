"""Times and limits of the control plane that are not part of its configuration file.

One dataclass for each component; `Settings` is given to it through `Options`. Only tests change the defaults.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FeedSettings:
    """The change feed (`store.feed`)."""

    #: Interval at which writes of other replicas are read that caused no notification (seconds).
    poll_interval: float = 0.5
    #: Interval at which a lost connection for notifications is set up again (seconds).
    listen_retry_interval: float = 1.0
    #: Minimum interval between two reads (seconds): writes that follow one another are read together.
    min_interval: float = 0.02
    #: Sequence numbers that are read again to find rows of transactions that committed late.
    overlap: int = 200
    #: Changes that a slow subscriber may have unread; then it must reload everything.
    max_unread: int = 2000
    #: How long rows are stored (seconds); far longer than any reader is behind.
    retention: float = 600.0


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Records and lists (`store`)."""

    feed: FeedSettings = FeedSettings()
    #: Attempts of an update while other writers change the same record. Each waits up to 128 ms longer.
    update_tries: int = 30
    #: Renewals of leases, and heartbeats, are collected for so long (seconds), and written by one statement.
    #: Meanwhile, nothing is sent to an agent whose stream renews its lease, which happens every few seconds.
    collecting_window: float = 0.05
    #: Rows per query when a complete list is read: bounds the memory of one result.
    list_batch_size: int = 500
    #: Records with a label that are found by it and sorted for a page; with more, the newest records are read
    #: until the page is full. And those of a complete list or a count, which would read all records instead.
    max_labelled_of_page: int = 1_000
    max_labelled_of_list: int = 20_000
    #: Labels of a filter that are compared by the number of their records, each with a query; by the rarest
    #: one, records are found.
    max_compared_labels: int = 4


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """Operations on records (`records`)."""

    #: Applications in the later blocks of one deployment chain; each costs a command.
    max_chain_applications: int = 1_000
    #: Resources of one application's live state, which is one object; events of more are refused.
    max_resources: int = 20_000
    #: Unhandled events that are read by one query: bounds the memory of one result.
    event_batch_size: int = 500
    #: Such queries in one run of the job: bounds its time.
    max_event_batches: int = 100
    #: Events that could not be written in one run, after which the database is considered overloaded.
    max_event_failures: int = 10


@dataclass(frozen=True, kw_only=True)
class StageLogSettings:
    """Stage logs (`store.stage_logs`). Sizes in bytes."""

    #: Of the log of one stage; more is left out in its middle. A browser loads all of it.
    max_size: int = 32 * 1024 * 1024
    #: Of one object. A page reads whole objects, so larger ones make pages slower.
    chunk_size: int = 512 * 1024
    #: Of the lines in one response: a browser shows the first page while it loads the next one.
    page_size: int = 1024 * 1024
    #: Lines in one response: building it takes a microsecond for each.
    page_lines: int = 10_000
    #: Of the lines since the last checkpoint. A checkpoint has all of them, in messages of at most 4 MiB.
    max_unmerged_size: int = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ObjectStoreSettings:
    """Requests to a bucket (`store.object_stores`)."""

    #: How long one request may take, with its whole response (seconds): an object has at most 32 MiB.
    request_timeout: float = 30.0
    #: A request that failed is not repeated after this time (seconds). It is shorter than the one above, so
    #: that a request without an answer is not repeated: agents repeat their reports, and users get an error.
    retry_timeout: float = 20.0
    #: How long reading, writing or deleting an object may take, with repeated requests (seconds): a bucket
    #: that failed at first may not answer the last one.
    call_timeout: float = 30.0


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """Streams of agents and browsers (`rpc.watch`)."""

    #: Validity of a lease after its last renewal (seconds): several times the renewal interval.
    lease_duration: float = 15.0
    #: Interval at which an open stream renews its lease (seconds).
    lease_renew_interval: float = 5.0
    #: Interval at which a waiting process tries to acquire the lease (seconds).
    lease_retry_interval: float = 1.0
    #: An agent with a stream is not responding after this time without a heartbeat (seconds): three times
    #: the interval at which it sends them.
    response_timeout: float = 45.0
    #: Interval at which the record of an agent with a stream is read again (seconds), though its changes are
    #: announced.
    credential_interval: float = 60.0
    #: Interval of heartbeats on a stream (seconds): proxies end silent connections. An agent's stream sends
    #: them when it renews its lease, so that an agent hears something at least every 15 s, as it expects.
    heartbeat_interval: float = 10.0


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """Connections of one HTTP port (`http.connections`), and of the gRPC ports."""

    #: Connections of all clients; fewer if the limit of open files is low. A browser tab has up to six.
    max_connections: int = 4000
    #: Connections of one address, or network of 64 bits of IPv6. An office with a common address has one for
    #: some hundred people. Trusted proxies have no limit of their own.
    max_per_address: int = 1000
    #: How long a client may take to send the headers of a request, or to begin the first one (seconds).
    head_timeout: float = 10.0
    #: How long a client may take to send the body of a request (seconds): webhooks have up to 5 MiB.
    body_timeout: float = 60.0
    #: How long a client may not read a response that is being sent (seconds).
    read_timeout: float = 60.0
    #: Size of the headers of a request (bytes).
    max_head_size: int = 64 * 1024
    #: Calls of one connection of gRPC at the same time; a client waits before it sends further ones, and a
    #: proxy with the calls of many clients opens another connection.
    grpc_max_streams: int = 1000
    #: Calls that gRPC has received and the event loop has not begun to serve, before some of further ones are
    #: cancelled, and before all are. After a restart, all agents call at the same time.
    grpc_max_pending: int = 5000
    grpc_max_pending_limit: int = 10_000
    #: How long a client of gRPC may take to set up its connection (seconds).
    grpc_handshake_timeout: float = 10.0
    #: How long a connection of gRPC may have no call (seconds). Agents have a stream, or poll.
    grpc_idle_timeout: float = 300.0
    #: Interval at which the connections of gRPC of each address are counted (seconds), and while an address
    #: has too many. Until then, it may have as many as there are for all clients.
    grpc_check_interval: float = 1.0
    grpc_crowded_check_interval: float = 0.05
    #: Interval at which gRPC checks that the other side of a silent connection exists (seconds).
    grpc_keepalive_interval: float = 60.0


@dataclass(frozen=True, kw_only=True)
class AuthSettings:
    """Credentials and sessions (`auth`, `http.login`)."""

    #: Maximum age of a cached credential (seconds): how long a key that another replica revoked still works
    #: if the change feed does not report it. While the feed is read, a credential is read again after
    #: `credential_read_interval` (seconds), and when the feed reports a change of it.
    credential_max_age: float = 1.0
    credential_read_interval: float = 60.0
    #: Credentials that are cached; bounds memory.
    max_credentials: int = 10_000
    #: Minimum interval between two writes of an API key's `last_used_at` (seconds).
    last_used_interval: int = 300
    #: Minimum interval between two writes of a session's last use (seconds).
    session_seen_interval: int = 300
    #: Sessions of one user; a further one ends the one that was not used for the longest time.
    max_sessions: int = 100
    #: How long the requests of one sign-in to the provider of single sign-on may take (seconds).
    provider_timeout: float = 15.0
    #: Providers are asked for the groups of so many users at the same time.
    max_group_checks: int = 64
    #: How long a call waits for a provider that is asked for its user's groups (seconds).
    group_check_wait: float = 5.0
    #: After a provider did not answer, it is asked again for a user's groups after this time (seconds).
    group_check_retry_interval: float = 60.0
    #: How long the metadata and the keys of an OpenID Connect provider are cached (seconds).
    provider_max_age: float = 3600.0
    #: Failed sign-ins of one address, or of a browser that has signed in before, as one user before further
    #: ones are rejected.
    max_failures: int = 10
    #: Failed sign-ins of one address as any user before further ones are rejected: an office may have one.
    max_failures_of_address: int = 50
    #: How long failed sign-ins of a client are counted, and rejected (seconds).
    failure_window: float = 300.0
    #: Failed sign-ins as one user, by browsers that have not signed in before, before others are delayed.
    max_failures_of_account: int = 10
    #: The longest delay between two of these, and the time in which one failure is forgotten (seconds).
    max_account_delay: float = 60.0
    #: Counters of failed sign-ins in the database; of more, those that mean nothing soonest are deleted. A
    #: guess adds at most three, and costs 0.1 s of CPU time, so that there are fewer in `failure_window`.
    max_counters: int = 100_000
    #: How long a server refuses sign-ins without reading their counters again (seconds), and of how many
    #: counters it remembers that they refuse.
    refusing_counter_max_age: float = 1.0
    max_refusing_counters: int = 10_000
    #: Refused calls and sign-ins of one caller for one reason leave one row of the audit log in this time
    #: (seconds); the next row says how many there were.
    refusal_window: float = 3600.0
    #: Rows about refusals of one project in this time; further ones are counted only.
    max_refusals: int = 200


@dataclass(frozen=True, kw_only=True)
class AgentRequestSettings:
    """Requests that agents answer while a user waits (`agent_requests`, `rpc.details`)."""

    #: Open requests for one agent, logs included, and for one project. Each log is a stream of the agent.
    max_per_piped: int = 32
    max_per_project: int = 100
    #: How long an agent may take for its answer, or the first part of it (seconds): less than the timeout of
    #: the console's calls.
    answer_timeout: float = 15.0
    #: How long a user's connection may not take a part of an answer (seconds).
    read_timeout: float = 15.0
    #: Interval of messages on the stream of a log (seconds), and of checks that its user may still read it.
    log_heartbeat_interval: float = 10.0
    #: A log is followed for so long (seconds); then the console opens another stream.
    max_log_duration: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class RelaySettings:
    """Messages between replicas (`relay`)."""

    #: Validity of a replica's lease after its last renewal, and interval of renewals (seconds).
    lease_duration: float = 15.0
    lease_renew_interval: float = 4.0
    #: How long a reply is waited for (seconds): longer than `AgentRequestSettings.read_timeout`.
    reply_timeout: float = 20.0
    #: After this time, messages are deleted that no replica has read (seconds).
    retention: float = 60.0


@dataclass(frozen=True, kw_only=True)
class NotificationSettings:
    """Messages to the receivers of projects (`notifications.sender`)."""

    #: Interval at which messages are found that another process added, or that are due again (seconds).
    interval: float = 5.0
    #: Validity of the lease of the process that sends (seconds).
    lease_duration: float = 30.0
    #: Timeout of one attempt (seconds).
    delivery_timeout: float = 30.0
    #: A message that a receiver did not accept is given up after this time (seconds).
    max_age: float = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class CallSettings:
    """Limits of each credential: an agent, an API key, or a person in a project. See `auth.call_limits`."""

    #: Calls that are served at the same time; others wait. An agent reports all its deployments; a browser
    #: has six connections.
    max_running_of_agent: int = 16
    max_running: int = 6
    #: Calls of all callers at the same time that may read all records of a project, such as a search. Each
    #: caller has one of them. The database can execute more, so that other calls do not wait.
    max_scanning: int = 2
    #: Calls that wait. Further ones are refused, and may be repeated.
    max_waiting: int = 500
    #: Streams: browser tabs and followed logs of a person, processes of an agent, programs with the same key.
    max_streams: int = 200


@dataclass(frozen=True, kw_only=True)
class Settings:
    store: StoreSettings = StoreSettings()
    records: RecordSettings = RecordSettings()
    stage_logs: StageLogSettings = StageLogSettings()
    object_store: ObjectStoreSettings = ObjectStoreSettings()
    watch: WatchSettings = WatchSettings()
    auth: AuthSettings = AuthSettings()
    connections: ConnectionSettings = ConnectionSettings()
    calls: CallSettings = CallSettings()
    agent_requests: AgentRequestSettings = AgentRequestSettings()
    relay: RelaySettings = RelaySettings()
    notifications: NotificationSettings = NotificationSettings()
