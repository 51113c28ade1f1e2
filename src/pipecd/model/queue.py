"""The order in which the deployments of one application run. Pure.

Called by the agent's workers, and by the control plane to find deployments that wait for each other.
"""

from collections.abc import Collection, Iterable, Sequence

from pipecd.model.deployment import Deployment


def next_deployment(
    application_id: str, deployments: Iterable[Deployment], passed: Collection[str] = ()
) -> Deployment | None:
    """The deployment to run next, of those that have not ended.

    `passed` are ids of deployments that wait for their turn in a chain: another one of the same commit goes
    first, so that two chains with the same applications in opposite order do not wait for each other. One
    of a newer commit does not, because the older commit would be deployed after it.
    """
    queue = order_queue(each for each in deployments if each.application_id == application_id)
    if not queue:
        return None
    commit = queue[0].trigger.commit.hash
    waiting = [each for each in queue if each.trigger.commit.hash == commit and each.id not in passed]
    return (waiting or queue)[0]


def order_queue(deployments: Iterable[Deployment]) -> Sequence[Deployment]:
    """Deployments of one application: an active one, then the oldest commit, then the earliest trigger.

    Of one chain, only that of the earliest block: a later one waits for it.
    """
    own = list(deployments)
    candidates = [each for each in own if not any(_precedes(other, each) for other in own)]
    return sorted(
        candidates,
        key=lambda deployment: (
            not deployment.status.active,
            deployment.trigger.commit.created_at,
            deployment.trigger.timestamp,
            deployment.id,
        ),
    )


def _precedes(first: Deployment, second: Deployment) -> bool:
    """Whether `second` waits for `first` in the same deployment chain."""
    return (
        bool(first.chain_id) and first.chain_id == second.chain_id and first.chain_block < second.chain_block
    )
