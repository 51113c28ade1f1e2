"""Who calls. Made by `rpc.identity` from a credential; the project comes from here, never from a request."""

from dataclasses import dataclass

from pipecd.model.access import Policy


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A piped. `instance` is the process it says it is; empty for PipeCD's own agent.

    `key_hash` is the stored hash that its key fitted: when it is gone, so is the right to call.
    """

    project_id: str
    piped_id: str
    instance: str = ""
    key_hash: str = ""

    @property
    def name(self) -> str:
        return self.piped_id


@dataclass(frozen=True, kw_only=True)
class Program:
    """The holder of an API key."""

    project_id: str
    key_id: str
    key_name: str
    may_write: bool

    @property
    def name(self) -> str:
        return self.key_id


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody signed in to the console."""

    project_id: str
    username: str
    avatar_url: str = ""
    policies: tuple[Policy, ...] = ()

    @property
    def name(self) -> str:
        return self.username


Caller = Agent | Program | Person
