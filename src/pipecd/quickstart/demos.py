"""The demos of the quickstart: which applications each has, and where their files are."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Demo:
    #: Directory of the files in this package.
    folder: str
    #: Directory in the demo's repository, which is also the application's name → kind.
    applications: Mapping[str, str]


TERRAFORM = Demo(
    folder="demo", applications=dict.fromkeys(("network", "website", "greeting", "limits"), "TERRAFORM")
)
KUBERNETES = Demo(
    folder="demo_kubernetes",
    applications=dict.fromkeys(("storefront", "cart", "search", "checkout", "payments"), "KUBERNETES"),
)
#: On a cluster with a Gateway.
KUBERNETES_WITH_GATEWAY = Demo(
    folder=KUBERNETES.folder, applications={**KUBERNETES.applications, "reviews": "KUBERNETES"}
)
GOOGLE = Demo(
    folder="demo_gcp", applications=dict.fromkeys(("web", "catalog", "payment", "report"), "CLOUDRUN")
)
AWS = Demo(folder="demo_aws", applications={"function": "LAMBDA", "service": "ECS"})
