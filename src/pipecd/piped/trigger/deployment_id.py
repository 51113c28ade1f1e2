"""The ids of deployments: worked out, not drawn, so that asking twice makes one deployment."""

import uuid

#: Never change it: a restart of another version must find the same ids.
_NAMESPACE = uuid.UUID("6f0ab3c4-2c3e-5b9c-9d6e-3c1f5a0d7e11")


def id_of_command(application_id: str, command_id: str) -> str:
    """The one deployment that a command leads to, whichever commit is head when it is carried out."""
    return _derived("command", application_id, command_id)


def id_of_commit(application_id: str, commit: str, kind: str, previous_id: str) -> str:
    """The deployment of a commit; `previous_id` is the deployment that was triggered before it."""
    return _derived(kind, application_id, commit, previous_id)


def _derived(*facts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "/".join(facts)))
