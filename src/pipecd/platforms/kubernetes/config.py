"""Configuration of Kubernetes: the application file, the stage options and the platform provider."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipecd.config.application import ApplicationSpec
from pipecd.config.decode import LenientModel, StrictModel, Unused
from pipecd.config.values import Duration, InsideApplication, Percentage, Replicas, Text
from pipecd.platforms.kubernetes.health.cel import Expression
from pipecd.value_path import ValuePath

#: Flags of Kustomize that run programs of the repository, or write elsewhere.
_REFUSED_FLAGS = frozenset(
    {"enable-exec", "enable-alpha-plugins", "helm-command", "network", "network-name", "mount", "output", "o"}
)
#: Decodes a path of a YAML document.
YAML_PATH = BeforeValidator(ValuePath.parse)
#: Those that only change what is rendered. kubectl accepts many more, such as one that writes a file.
_FLAGS = frozenset(
    {"load-restrictor", "reorder", "enable-helm", "helm-kube-version", "helm-api-versions", "helm-debug"}
    | {"enable-managedby-label", "allow-id-changes", "stack-trace"}
)


def _flags(value: Mapping[str, str]) -> Mapping[str, str]:
    for name in value:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError(f"{name!r} is not a flag of kustomize build: write it without dashes in front")
        if name in _REFUSED_FLAGS:
            raise ValueError(f"{name} is not allowed, because it runs programs or writes files")
        if name not in _FLAGS:
            raise ValueError(f"{name} is not one of the accepted flags: {', '.join(sorted(_FLAGS))}")
    return value


class HelmChart(StrictModel):
    """Exactly one source: a directory, a Git repository, or a chart repository."""

    git_remote: str = ""
    """URL of the Git repository that contains the chart."""
    ref: str = ""
    """Branch, tag or commit of `gitRemote`."""
    path: str = ""
    """Path of the chart: in `gitRemote`, else relative to the application's directory."""
    repository: str = ""
    """Name of a chart repository of the agent, or a registry as `oci://host/path`."""
    name: str = ""
    """Name of the chart in `repository`."""
    version: Text = ""
    """Version of the chart in `repository`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.repository and (self.git_remote or self.path):
            raise ValueError("repository cannot be combined with gitRemote and path")
        if self.repository and not self.name:
            raise ValueError("name of the chart is missing: repository needs it")
        if self.git_remote and not self.ref:
            raise ValueError("ref of gitRemote is missing: a branch, tag or commit")
        if not (self.repository or self.git_remote or self.path):
            raise ValueError("one of path, gitRemote and repository must be given")
        return self


class HelmOptions(StrictModel):
    release_name: str = ""
    """Name of the release in templates. Default: the application's name."""
    set_values: Mapping[str, Text] = Field(default_factory=dict)
    """Values, as with `--set`, in this order; they override `valueFiles`."""
    value_files: Sequence[str] = ()
    """Value files, relative to the application's directory, or URLs. Later ones override earlier ones."""
    set_files: Mapping[str, InsideApplication] = Field(default_factory=dict)
    """Values that are the content of a file, as with `--set-file`."""
    api_versions: Sequence[str] = ()
    """Added to Helm's own `.Capabilities.APIVersions` of templates. Default: those of the cluster."""
    kube_version: Text = ""
    """`.Capabilities.KubeVersion` of templates. Default: that of the cluster."""


class DeployTarget(StrictModel):
    name: str = Field(min_length=1)
    """Name of a platform provider of the agent."""
    labels: Annotated[Mapping[str, Text], Unused("the name selects the provider")] = Field(
        default_factory=dict
    )
    """Not used, as in PipeCD."""


class MultiTarget(StrictModel):
    """Files of its own for each target (`manifests`, `kustomizeDir` and others) are not supported."""

    target: DeployTarget
    """A cluster that the objects are applied to."""


class Input(StrictModel):
    multi_targets: Sequence[MultiTarget] = Field(default=(), max_length=100)
    """Clusters that the objects are applied to, instead of the application's own platform provider. Objects
    that one of `resourceRoutes` matches are applied to its clusters. Empty: the own one.
    """
    manifests: Sequence[InsideApplication] = ()
    """Manifest files, relative to the application's directory. Empty: all `.yaml`, `.yml` and `.json` files
    directly in it.
    """
    kubectl_version: Text = ""
    """Not used: kubectl is not needed. Accepted for compatibility with PipeCD."""
    kustomize_version: Text = ""
    """Version of Kustomize, such as `5.5.0`. Empty: the installed one. An agent without this version uses
    another one, as for Helm.
    """
    kustomize_options: Annotated[Mapping[str, Text], AfterValidator(_flags)] = Field(default_factory=dict)
    """Flags of `kustomize build`: `k: v` becomes `--k v`, and an empty value `--k`."""
    helm_version: Text = ""
    """Version of Helm, such as `3.16.4`. Empty: the installed one. An agent without this version uses the
    newest one of the same major version, else another one, and says so in the log.
    """
    helm_chart: HelmChart | None = None
    """The chart. If it is given, the application is rendered by Helm."""
    helm_options: HelmOptions = HelmOptions()
    """How the chart is rendered."""
    namespace: str = ""
    """Namespace of the objects that name none. Empty: `default`."""
    auto_create_namespace: bool = False
    """Create `namespace` if it does not exist. It is never deleted."""
    auto_rollback: bool | None = None
    """Roll back when a deployment fails; takes precedence over `planner.autoRollback`."""
    wait_for_ready: bool = True
    """Wait until the workloads are ready. If false, a stage ends when the API has accepted the objects, as in
    PipeCD. Not in PipeCD.
    """
    hooks: bool = False
    """Run objects with the hook annotations of Argo CD and Helm as hooks. If false, hooks of a chart are left
    out, and objects with those of Argo CD are applied like others, as in PipeCD. Not in PipeCD.
    """
    file_order: bool = False
    """Apply in the order of the annotation `pipecd.dev/order` alone, as PipeCD does. If false, also by kind.
    Not in PipeCD.
    """


class StageTargets(LenientModel):
    multi_targets: Sequence[str] = Field(default=(), max_length=100)
    """Names of the platform providers to whose clusters the stage is limited. Empty: all of the application.
    """


class SyncOptions(StageTargets):
    add_variant_label_to_selector: bool = False
    """Add the variant label to the selectors and pod templates of workloads."""
    prune: bool = False
    """Delete objects of the application that are no longer in Git."""
    prune_limit: Percentage = 50
    """Largest part of the application's objects that may be deleted at once, as a percentage. Up to 5 objects
    may always be deleted. Not in PipeCD.
    """


class PrimaryRolloutOptions(SyncOptions):
    suffix: str = ""
    """Suffix of the generated services. Default: `variantLabel.primaryValue`."""
    create_service: bool = False
    """Create services that select the primary variant only."""


class PatchTarget(StrictModel):
    kind: str = Field(min_length=1)
    """Kind of the object."""
    name: str = Field(min_length=1)
    """Name of the object, as in Git."""
    document_root: Annotated[ValuePath | None, YAML_PATH] = None
    """Path of a text in the object that is a YAML document, such as `$.data.envoy-config`. Empty: the object
    itself.
    """


class PatchOperation(StrictModel):
    op: Literal["yaml-replace"] = "yaml-replace"
    """What is done: a value is replaced."""
    path: Annotated[ValuePath, YAML_PATH]
    """Path of the value, such as `$.spec.replicas`, `$.items[0].name`, `$.items[*].name`, `$..image` or
    `$.data.'app.yaml'`. It must exist.
    """
    value: Text = ""
    """The new value, a text."""


class Patch(StrictModel):
    target: PatchTarget
    """The object to change. The first one of this kind and name is changed."""
    ops: Sequence[PatchOperation] = Field(default=(), max_length=100)
    """The changes, in this order."""


class BaselineRolloutOptions(StageTargets):
    replicas: Replicas = "1"
    """Number of pods, or a percentage of the running primary's, such as `20%`, rounded up. At least 1."""
    suffix: str = ""
    """Suffix of the names of the variant's objects. Default: the variant's value in `variantLabel`."""
    create_service: bool = False
    """Create services that select this variant only."""


class CanaryRolloutOptions(BaselineRolloutOptions):
    patches: Sequence[Patch] = Field(default=(), max_length=100)
    """Changes of the manifests for the canary."""


class TrafficStep(StrictModel):
    canary: Percentage = 0
    """Percentage of the traffic for the canary; the primary variant gets the rest."""
    duration: Duration = Field(default=timedelta(), alias="for")
    """How long to wait afterwards, before the next step or the end of the stage."""

    @property
    def shares(self) -> Mapping[str, int]:
        """Percentages that sum to 100, by variant."""
        return {"primary": 100 - self.canary, "canary": self.canary, "baseline": 0}


class CanaryMatch(StrictModel):
    headers: Mapping[str, Text] = Field(min_length=1, max_length=16)
    """Requests with all of these headers, and these values, go to the canary."""


class TrafficRoutingOptions(StageTargets):
    """The percentages must sum to 100. If only others are set, the primary variant gets the rest."""

    all: Literal["", "primary", "canary", "baseline"] = ""
    """The variant that gets all traffic; takes precedence over the percentages."""
    primary: Percentage = 0
    """Percentage of the traffic for the primary variant."""
    canary: Percentage = 0
    """Percentage of the traffic for the canary."""
    baseline: Percentage = 0
    """Percentage of the traffic for the baseline."""
    steps: Sequence[TrafficStep] = Field(default=(), max_length=100)
    """Percentages for the canary, one after another; instead of the other percentages. Not in PipeCD."""
    canary_match: CanaryMatch | None = None
    """Requests that go to the canary in addition, with the methods `istio` and `gateway`. Not in PipeCD."""

    @model_validator(mode="after")
    def _sum(self) -> Self:
        total = self.primary + self.canary + self.baseline
        if self.steps and (self.all or total):
            raise ValueError("steps cannot be combined with all, primary, canary and baseline")
        if not self.all and (total > 100 or (self.primary and total != 100)):
            raise ValueError(f"the percentages sum to {total}, not to 100")
        return self

    @property
    def shares(self) -> Mapping[str, int]:
        """Percentages that sum to 100, by variant; of the last step if there are steps."""
        if self.all:
            return {"primary": 0, "canary": 0, "baseline": 0, self.all: 100}
        if self.steps:
            return self.steps[-1].shares
        primary = 100 - self.canary - self.baseline
        return {"primary": primary, "canary": self.canary, "baseline": self.baseline}


class ServiceReference(StrictModel):
    kind: str = ""
    """Kind of the service. Not used: it is always Service."""
    name: str = ""
    """Name of the service. Empty: all services, or the first one for traffic routing."""


class WorkloadReference(StrictModel):
    kind: str = "Deployment"
    """Kind of the workload."""
    name: str = ""
    """Name of the workload. Empty: all of the kind."""


class IstioRoute(StrictModel):
    kind: Literal["", "VirtualService"] = ""
    """Kind of the routing object."""
    name: str = ""
    """Name of the VirtualService. Empty: the first one."""


class Istio(StrictModel):
    host: str = ""
    """Destination host whose traffic is split: `web`, `web.shop` or `web.shop.svc.cluster.local`, which are
    the same. Default: `service.name`.
    """
    editable_routes: Sequence[str] = ()
    """Names of the routes that may be changed. Empty: all."""
    virtual_service: IstioRoute = IstioRoute()
    """The VirtualService that routes the traffic."""


class GatewayRoute(StrictModel):
    kind: Literal["", "HTTPRoute", "GRPCRoute"] = ""
    """Kind of the route. Empty: either."""
    name: str = ""
    """Name of the route. Empty: the first one that sends traffic to the service."""


class Gateway(StrictModel):
    route: GatewayRoute = GatewayRoute()
    """The route that splits the traffic."""
    editable_rules: Sequence[str] = ()
    """Names of the rules that may be changed. Empty: all that send traffic to the service."""


class TrafficRouting(StrictModel):
    method: Literal["podselector", "istio", "smi", "gateway"] = "podselector"
    """How traffic is split: by the selector of the service, by weights of an Istio VirtualService, of an SMI
    TrafficSplit, or of a route of the Gateway API. `gateway` is not in PipeCD.
    """
    istio: Istio | None = None
    """Settings of the method `istio`."""
    gateway: Gateway | None = None
    """Settings of the method `gateway`. Not in PipeCD."""
    settle: Duration = timedelta(seconds=10)
    """How long to wait after traffic was moved before what served it is deleted, because proxies apply
    changes later. Not in PipeCD.
    """


class VariantLabel(StrictModel):
    key: str = "pipecd.dev/variant"
    """Key of the label that distinguishes variants."""
    primary_value: str = "primary"
    """Value of the label for the primary variant."""
    canary_value: str = "canary"
    """Value of the label for the canary variant, and the default suffix of its objects."""
    baseline_value: str = "baseline"
    """Value of the label for the baseline variant, and the default suffix of its objects."""


class ProviderReference(StrictModel):
    name: str = ""
    """Name of a platform provider of the agent."""
    labels: Mapping[str, Text] = Field(default_factory=dict)
    """Labels that select platform providers of the agent, if `name` is empty. Matching objects are applied to
    each of them.
    """

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if not self.name and not self.labels:
            raise ValueError("name or labels of a platform provider must be given")
        return self


class RouteMatcher(StrictModel):
    kind: str = ""
    """Kind of the objects. Empty: any."""
    name: str = ""
    """Name of the objects. Empty: any."""


class ResourceRoute(StrictModel):
    provider: ProviderReference
    """Where matching objects are applied."""
    match: RouteMatcher | None = None
    """Which objects match. Absent: all."""


class KubernetesApp(ApplicationSpec):
    input: Input = Input()
    """What is deployed."""
    quick_sync: SyncOptions = SyncOptions()
    """Options of a quick sync."""
    service: ServiceReference = ServiceReference()
    """The service whose traffic is routed."""
    workloads: Sequence[WorkloadReference] = ()
    """The workloads whose changes are deployed with the pipeline. Empty: all Deployments."""
    traffic_routing: TrafficRouting = TrafficRouting()
    """How traffic is split between variants."""
    variant_label: VariantLabel = VariantLabel()
    """The label that distinguishes variants."""
    resource_routes: Sequence[ResourceRoute] = ()
    """Which objects are applied to other clusters. The first route that matches an object decides; without
    one, it is applied to the application's own platform provider.
    """


class ResourceMatcher(LenientModel):
    api_version: str
    """Group and version, such as `apps/v1`."""
    kind: str = ""
    """Kind. Empty: every kind of `apiVersion`."""


class AppStateInformer(LenientModel):
    namespace: str = ""
    """List only the objects of this namespace, with a role of this namespace alone. Empty: all namespaces."""
    include_resources: Sequence[ResourceMatcher] = ()
    """Kinds that are watched besides those that applications declare, ReplicaSets, Pods and Jobs, such as
    those that an operator creates.
    """
    exclude_resources: Sequence[ResourceMatcher] = ()
    """Kinds that are not watched, and not shown in live states. Takes precedence over `includeResources`.
    """


class HealthRule(StrictModel):
    """When objects of a kind work, as expressions of the Common Expression Language (CEL), with the words of
    Flux's `healthCheckExprs`. They read the object's `apiVersion`, `kind`, `metadata`, `spec`, `status` and
    `data`, and are evaluated in the order `inProgress`, `failed`, `current`. An object is in progress if none
    is true, or if one reads a field that is missing.
    """

    api_version: str
    """Group and version of the kind, such as `example.com/v1`. The version does not matter."""
    kind: str = Field(min_length=1)
    """Kind. A rule replaces the agent's own rule for the kind."""
    in_progress: str = ""
    """True while its controller works on the object."""
    failed: str = ""
    """True if the object does not work. A stage that waits for it fails after a minute."""
    current: str
    """True if the object works."""
    ignore_generation: bool = False
    """Judge the object even if `status.observedGeneration` is older than it, for controllers that do not
    update it.
    """

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        for name, expression in (
            ("inProgress", self.in_progress),
            ("failed", self.failed),
            ("current", self.current),
        ):
            if expression or name == "current":
                try:
                    Expression(expression)
                except ValueError as error:
                    shown = expression if len(expression) <= 200 else f"{expression[:200]}..."
                    raise ValueError(f"{name} of {self.kind}, {shown!r}: {error}") from error
        return self


class Provider(LenientModel):
    """Without `kubeConfigPath`, the agent uses the cluster that it runs in."""

    master_url: str = Field(default="", alias="masterURL")
    """URL of the API server. Empty: that of the kubeconfig or of the agent's cluster."""
    kube_config_path: str = ""
    """Path of a kubeconfig. Empty: the agent's service account, else the files in KUBECONFIG."""
    context: str = ""
    """Context of the kubeconfig. Empty: its current context. Not in PipeCD."""
    kubectl_version: Annotated[Text, Unused("kubectl is not needed")] = ""
    """Not used: kubectl is not needed. Accepted for compatibility with PipeCD."""
    app_state_informer: AppStateInformer = AppStateInformer()
    """Which objects are listed."""
    health_rules: Sequence[HealthRule] = Field(default=(), max_length=500)
    """When objects of custom kinds work. Not in PipeCD."""
    api_qps: int = Field(default=50, ge=1, le=10_000, alias="apiQPS")
    """Requests per second that the agent sends to the cluster at most. Not in PipeCD."""
    api_burst: int = Field(default=100, ge=1, le=10_000)
    """Requests that may be sent at once before `apiQPS` applies. Not in PipeCD."""
