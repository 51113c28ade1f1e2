"""What the stages share: the work, the cluster, and the objects to apply."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipecd.model.stage import Again, Failed, Source, Work
from pipecd.platforms.kubernetes.apply import RUN, asks_to_recreate
from pipecd.platforms.kubernetes.cluster.connection import Cluster
from pipecd.platforms.kubernetes.config import KubernetesApp
from pipecd.platforms.kubernetes.field_rules import FieldRules
from pipecd.platforms.kubernetes.manifest import Manifest
from pipecd.platforms.kubernetes.mark import Marks
from pipecd.platforms.kubernetes.order import sort
from pipecd.platforms.kubernetes.prepare import prepare
from pipecd.platforms.kubernetes.settings import StageSettings
from pipecd.platforms.kubernetes.targets import Target
from pipecd.platforms.kubernetes.variants import Variant

#: Result of a step. None if there was nothing to do.
Step = Again | Failed | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """The work of a stage in one cluster. `source` is the commit to apply: the target, or for a rollback the
    running one.
    """

    work: Work[Any]
    cluster: Cluster
    settings: StageSettings
    source: Source
    #: The objects of this cluster as declared, in the order of the files.
    declared: Sequence[Manifest]
    #: Objects of clusters that the stage is not about.
    elsewhere: Sequence[Manifest] = ()
    #: Those that run at a moment of the deployment, which are not part of `declared`.
    hooks: Sequence[Manifest] = ()
    target: Target
    #: Whether it is the cluster of the application's own platform provider.
    is_own: bool
    #: Those of all clusters of the stage, this one included.
    all_jobs: Sequence["Job"] = field(repr=False)
    #: Of what is applied; None: the primary variant.
    variant: Variant | None = None

    @property
    def spec(self) -> KubernetesApp:
        spec: KubernetesApp = self.source.config.spec
        return spec

    @property
    def application(self) -> str:
        return self.work.application.id

    @property
    def namespace(self) -> str:
        """That of objects that name none; empty for the default."""
        return self.spec.input.namespace

    @property
    def run(self) -> str:
        """Identifies this stage of this deployment on objects."""
        return hashlib.sha256(self.work.token.encode()).hexdigest()[:16]

    @property
    def field_rules(self) -> FieldRules:
        return FieldRules.of(self.source.config)

    @property
    def marks(self) -> Marks:
        label = self.spec.variant_label
        return Marks(
            piped=self.work.deployment.piped_id,
            application=self.application,
            commit=self.source.commit,
            variant=self.variant.label if self.variant else (label.key, label.primary_value),
        )

    def ordered(self, manifests: Sequence[Manifest], *, add_variant_label: bool) -> list[Manifest]:
        """Objects of the primary variant as they are applied, in that order, without marks."""
        label = self.spec.variant_label
        added = (label.key, label.primary_value) if add_variant_label else None
        return sort(prepare(manifests, added), by_kind=not self.spec.input.file_order)

    def marked(self, manifest: Manifest) -> Manifest:
        """`manifest` as it is sent. Its namespace must be known."""
        marked = self.marks.mark(manifest)
        if not asks_to_recreate(marked):
            return marked
        metadata = {**marked.body["metadata"], "annotations": {**marked.annotations, RUN: self.run}}
        return Manifest({**marked.body, "metadata": metadata}, marked.place)
