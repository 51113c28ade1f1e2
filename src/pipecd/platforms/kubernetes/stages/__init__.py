"""The Kubernetes stages. Each applies objects, waits until they work, and can be repeated at any moment.

Server-side apply is idempotent, so a stage that is called again applies the rest, and the last ones again.
"""

from collections.abc import Mapping

from pipecd.model.stage import StageFunction
from pipecd.platforms.kubernetes.stages.rollback import k8s_rollback
from pipecd.platforms.kubernetes.stages.sync import k8s_sync

STAGES: Mapping[str, StageFunction] = {"K8S_SYNC": k8s_sync, "ROLLBACK": k8s_rollback}
