"""Times and limits of the platform that are not part of a configuration file.

One dataclass for each component, which receives it as an argument. Only tests change the defaults.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """Stages (`stages`). Times in seconds."""

    #: A call of a stage returns after about this time, so that its progress is stored.
    call_duration: float = 10.0
    #: How long a kind may be unknown that another object of the application may define: its controller may
    #: have to start first.
    unknown_kind_timeout: float = 120.0
    #: How long an object may be deleted before another one of its name is created: finalizers take a while.
    deletion_timeout: float = 300.0
    #: How long pods may have the same problem before the stage fails: images that cannot be pulled for a
    #: moment, and crashes while another service starts.
    problem_timeout: float = 60.0
    #: How long an object may not be ready, for kinds without a deadline of their own: that of a Deployment.
    ready_timeout: float = 600.0
    #: How long hooks of a failure and of a rollback may take, because a rollback must end.
    failure_hook_timeout: float = 600.0
    #: How long to wait for ready pods before they get traffic.
    serving_timeout: float = 120.0
    #: How long Gateways may take to accept a route.
    accepted_timeout: float = 60.0
    #: How long to wait until what is no longer in Git is gone. It is deleted after everything works, so a
    #: stage that waits longer delays a deployment that has succeeded.
    gone_timeout: float = 60.0
    #: How long to wait until the pods of a deleted variant are gone, before their configuration is deleted.
    variant_deletion_timeout: float = 300.0


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Requests to an API server (`cluster.api`, `cluster.credentials`)."""

    #: Timeout of a request (seconds): that of the API server.
    request_timeout: float = 60.0
    #: Timeout of a connection (seconds): a server that is up accepts it within milliseconds.
    connect_timeout: float = 10.0
    #: Objects in a page of a list, as of kubectl.
    page_size: int = 500
    #: Of one answer, decompressed (bytes). A page of 500 objects of the largest size etcd stores is 750 MB,
    #: but a usual one is below 10 MB.
    max_response_size: int = 128 * 1024 * 1024
    #: How long an exec program may take to print credentials (seconds): it may ask a cloud for a token.
    exec_timeout: float = 60.0


@dataclass(frozen=True, kw_only=True)
class FollowSettings:
    """Following the objects of a cluster (`cluster.follow`, `cluster.seen`)."""

    #: Objects without a known owner that are kept, because the owner may be reported later. Bounds memory.
    max_unclaimed: int = 5_000
    #: An object that is older when it gets its marks (seconds) may have created others before: longer than a
    #: controller takes to see a new object.
    new_age: float = 5.0
