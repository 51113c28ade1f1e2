"""The authenticated caller of an RPC, built by `rpc.identity` from a credential.

Handlers take the project from the caller, never from the request, and pass its `actor` to every write. Its
`name` identifies it among the callers of its kind; `shown_name` is what people read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipecd.controlplane.auth.sessions import Session
from pipecd.model.access import Action, Labels, Policy, Resource, allows_record, conditions
from pipecd.model.actor import Actor


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A piped. `instance` identifies the agent process, as sent by it; empty for PipeCD's own agent.

    `key_hash` is the stored hash that its key matched. Once that hash is deleted, the agent loses access.
    """

    actor: Actor
    project_id: str
    piped_id: str
    instance: str = ""
    key_hash: str = ""

    @property
    def name(self) -> str:
        return self.piped_id

    @property
    def shown_name(self) -> str:
        return self.actor.name


@dataclass(frozen=True, kw_only=True)
class Program:
    """A client that authenticates with an API key."""

    actor: Actor
    project_id: str
    key_id: str
    key_name: str
    may_write: bool
    may_administer: bool = False

    @property
    def name(self) -> str:
        return self.key_id

    @property
    def shown_name(self) -> str:
        return f"API key {self.key_name}"


@dataclass(frozen=True, kw_only=True)
class Person:
    """A user signed in to the console."""

    actor: Actor
    project_id: str
    username: str
    session: Session
    policies: tuple[Policy, ...] = ()
    #: The right that the current call needs. None for calls that every member may make.
    right: tuple[Resource, Action] | None = None

    def may(self, resource: Resource, labels: Labels) -> bool:
        """Whether the current call may use a record of `resource` with these labels."""
        return allows_record(self.policies, resource, self._action_on(resource), labels)

    def conditions(self, resource: Resource) -> Sequence[Labels] | None:
        """Which records of `resource` the current call may use; see `model.access.conditions`."""
        return conditions(self.policies, resource, self._action_on(resource))

    def _action_on(self, resource: Resource) -> Action:
        """A call reads records of other kinds than the one that its right is about."""
        return self.right[1] if self.right and self.right[0] == resource else Action.GET

    @property
    def name(self) -> str:
        return self.username

    @property
    def shown_name(self) -> str:
        return self.username


Caller = Agent | Program | Person
