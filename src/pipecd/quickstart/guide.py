"""The guide on the console's first page in a quickstart: what to try, as Git commands."""

import shlex
from collections.abc import Mapping
from typing import Any

from pipecd.quickstart.demo_cluster import DemoCluster
from pipecd.quickstart.ports import Ports
from pipecd.quickstart.state import State

_GOOGLE_NOTE = (
    "Google Cloud is emulated on this machine: services have revisions, traffic and conditions, and jobs have"
    " executions, but no container runs, and nothing is sent to Google."
)


def describe_demo(state: State, remote: str, ports: Ports) -> Mapping[str, Any]:
    """`note` is shown above the steps, if there is one."""
    content = {
        "remote": remote,
        "clone": f"git clone {remote} demo",
        "inbox": f"http://localhost:{ports.inbox}",
        "steps": _steps(state, ports),
    }
    if state.google:
        return {**content, "note": _GOOGLE_NOTE}
    return {**content, "note": _note(state.cluster)} if state.cluster else content


def _note(cluster: DemoCluster) -> str:
    if cluster.simulated:
        return (
            "This cluster is simulated: its API server, controllers and scheduler are real, but its pods run"
            " no containers. They only have the statuses of running pods. Its Gateway only accepts routes."
        )
    return f"Everything is deployed to the namespace {cluster.namespace} of your cluster."


def _steps(state: State, ports: Ports) -> list[dict[str, Any]]:
    if state.google:
        return _google(ports)
    if state.cluster:
        return _kubernetes(state.cluster)
    return [*_terraform(state), *(_AWS if state.with_aws else [])]


def _terraform(state: State) -> list[dict[str, Any]]:
    page = shlex.quote(str(state.folder / "deployed/website/index.html"))
    return [
        {
            "title": "Change the website: approve each plan in the console, then see the deployed page",
            "commands": [
                "cd demo",
                "echo 'headline = \"Deployed by me\"' > website/terraform.tfvars",
                "git commit -am 'A new headline'",
                "git push",
                # Copied with the others, it waits for the approval.
                f"until grep -s 'Deployed by me' {page}; do sleep 1; done",
            ],
        },
        {
            "title": "Add a subnet: a quick sync, without a pipeline",
            "commands": [
                'echo \'subnets = ["10.0.1.0/24", "10.0.9.0/24"]\' > network/terraform.tfvars',
                "git commit -am 'Another subnet' && git push",
            ],
        },
        {
            "title": "Trigger a rollback: the check fails, and the previous state is restored",
            "commands": [
                "echo 'requests = 50000' > limits/terraform.tfvars",
                "git commit -am 'Raise the request limit' && git push",
            ],
        },
    ]


_AWS: list[dict[str, Any]] = [
    {
        "title": "Route traffic: a new version of the Lambda function receives 10% of it first",
        "commands": [
            "sed -i 's/Good morning/Good evening/' function/code/app.py",
            "git commit -am 'Change the greeting' && git push",
        ],
    }
]


def _google(ports: Ports) -> list[dict[str, Any]]:
    return [
        {
            "title": "Deploy a new version, and see how many requests its revision answers",
            "commands": [
                "cd demo",
                "sed -i 's/web:.*/web:v3/' web/service.yaml",
                "git commit -am 'A new version of the web service' && git push",
                f"for i in $(seq 20); do curl -s http://127.0.0.1:{ports.google}/web; done",
            ],
        },
        {
            "title": "Run the job with other arguments: the deployment waits for its execution",
            "commands": [
                "sed -i 's/args: .*/args: [yearly]/' report/job.yaml",
                "git commit -am 'A yearly report' && git push",
            ],
        },
        {
            "title": "Trigger a rollback: the revision does not start, and gets no traffic",
            "commands": [
                "sed -i 's/payment:.*/payment:broken-2/' payment/service.yaml",
                "git commit -am 'Another version that does not start' && git push",
            ],
        },
        {
            "title": "Correct the drift of catalog: choose Sync on its page in the console, or push a change",
            "commands": [
                "sed -i 's/value: info/value: warning/' catalog/service.yaml",
                "git commit -am 'Fewer log lines' && git push",
            ],
        },
    ]


def _kubernetes(cluster: DemoCluster) -> list[dict[str, Any]]:
    return [
        {
            "title": "Deploy a new version of the storefront, and see its pods",
            "commands": [
                "cd demo",
                "sed -i 's/nginx:1.27/nginx:1.28/' storefront/deployment.yaml",
                "git commit -am 'A new version of the storefront' && git push",
                f"{cluster.kubectl} get pods",
            ],
        },
        {
            "title": "Edit the cluster by hand: the console shows the drift, and piped repairs it",
            "commands": [f"{cluster.kubectl} set env deployment/search LOG_LEVEL=trace"],
        },
        {
            "title": "Roll out a canary: it gets all traffic, and you approve before the rest is changed",
            "commands": [
                "sed -i 's/nginx:1.27/nginx:1.28/' payments/deployment.yaml",
                "git commit -am 'A new version of payments' && git push",
                f"{cluster.kubectl} get pods --label-columns=pipecd.dev/variant --watch",
            ],
        },
        *([_gateway(cluster)] if cluster.gateway else []),
        {
            "title": "Scale the Helm chart",
            "commands": [
                "sed -i 's/replicas: .*/replicas: 4/' cart/values-production.yaml",
                "git commit -am 'More replicas of the cart' && git push",
            ],
        },
        {
            "title": "Trigger a rollback: the image does not exist, and the previous version is restored",
            "commands": [
                "sed -i 's/nginx:.*/nginx:nopull-2/; s/Seconds: .*/Seconds: 5/' checkout/deployment.yaml",
                "git commit -am 'Another version that does not exist' && git push",
            ],
        },
    ]


def _gateway(cluster: DemoCluster) -> dict[str, Any]:
    return {
        "title": "Split traffic by weights: a fifth goes to the canary of reviews, until you approve it",
        "commands": [
            "sed -i 's/nginx:.*/nginx:1.29/' reviews/deployment.yaml",
            "git commit -am 'Another version of the reviews' && git push",
            f"{cluster.kubectl} get httproute reviews --output=yaml --watch",
        ],
    }
