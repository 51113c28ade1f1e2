"""Deployment ids, derived from the cause, so that repeated creation yields one deployment."""

import uuid

#: Must never change: another version of the agent must derive the same ids.
_NAMESPACE = uuid.UUID("6f0ab3c4-2c3e-5b9c-9d6e-3c1f5a0d7e11")


def id_of_command(application_id: str, command_id: str) -> str:
    """The id of a command's deployment, independent of which commit is deployed."""
    return _derive("command", application_id, command_id)


def id_of_commit(application_id: str, commit: str, kind: str, previous_id: str) -> str:
    """The id of a commit's deployment; `previous_id` is the deployment triggered before it."""
    return _derive(kind, application_id, commit, previous_id)


def _derive(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))
