"""Who changes something. Every write of the control plane's store requires it, for the audit log."""

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    #: A user of the console.
    PERSON = "person"
    #: A program with an API key: pipectl, CI, Terraform.
    API_KEY = "api_key"
    #: An agent.
    PIPED = "piped"
    #: A periodic job of the control plane.
    JOB = "job"
    #: The operator of the control plane: its start, its configuration file, commands on its machine.
    OPERATOR = "operator"


@dataclass(frozen=True, kw_only=True)
class Actor:
    """`id` identifies the actor within its kind; `name` is what people call it.

    `project_id` is empty for jobs and operators. `address` is the IP address the request came from; empty
    if there was none. `action` is what the actor does: the path of the RPC, or the name of the job or
    command.
    """

    kind: ActorKind
    id: str
    name: str
    action: str
    project_id: str = ""
    address: str = ""
