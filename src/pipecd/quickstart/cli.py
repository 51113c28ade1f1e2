"""The command `pipecd quickstart`."""

import asyncio
import re
from pathlib import Path

import click
from rich.console import Console as Terminal
from rich.panel import Panel

from pipecd import quickstart
from pipecd.quickstart import demo_cluster
from pipecd.quickstart.demo_cluster import DemoCluster
from pipecd.quickstart.ports import DEFAULT_PORT, Ports
from pipecd.quickstart.state import PROJECT, USERNAME, State, remove
from pipecd.telemetry import configure_logging

DEFAULT_FOLDER = "pipecd-quickstart"
_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


@click.command("quickstart")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Directory of the databases, the Git repository and the Terraform states.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535 - 10),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the console; the following ports are used too.",
)
@click.option(
    "--with-aws-emulator", is_flag=True, help="Add an emulated AWS with a Lambda and an ECS application."
)
@click.option(
    "--google-emulator",
    is_flag=True,
    help="Emulate Google Cloud on this machine, and deploy Cloud Run applications to it instead.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Kubeconfig of your cluster: the demo is deployed to it, with Kubernetes applications instead.",
)
@click.option("--context", default="", help="Context of the kubeconfig. Default: its current context.")
@click.option(
    "--namespace",
    default=demo_cluster.NAMESPACE,
    show_default=True,
    help="Namespace of the Kubernetes applications. It is created, and never deleted.",
)
@click.option(
    "--gateway",
    default="",
    metavar="NAMESPACE/NAME",
    help="Gateway of your cluster (Gateway API): adds an application whose traffic is split by weights.",
)
@click.option(
    "--simulated-cluster",
    "binary",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Start a local cluster without containers from this binary, which `make cluster` builds, and"
    " deploy the Kubernetes applications to it.",
)
@click.option("--clean", is_flag=True, help="Remove the state directory and exit.")
def command(
    state_dir: Path,
    port: int,
    with_aws_emulator: bool,
    google_emulator: bool,
    kubeconfig: Path | None,
    context: str,
    namespace: str,
    gateway: str,
    binary: Path | None,
    clean: bool,
) -> None:
    """Run control plane, agent, a Git remote and four demo applications on this machine."""
    configure_logging("humanize", "warning")
    terminal = Terminal(highlight=False)
    if clean:
        removed, stays = remove(state_dir)
        terminal.print(f"Removed {state_dir}" if removed else f"{state_dir} does not exist")
        if stays:
            terminal.print(stays, soft_wrap=True)
        return
    cluster = _cluster(state_dir, kubeconfig, context, namespace, gateway, binary)
    if google_emulator and (cluster or with_aws_emulator):
        raise click.UsageError("--google-emulator excludes the options of AWS and Kubernetes")

    def ready(state: State, ports: Ports) -> None:
        terminal.print(
            Panel(
                f"[bold]http://localhost:{ports.console}[/bold]\n\n"
                f"project   {PROJECT}\nuser      {USERNAME}\npassword  {state.password()}\n\n"
                f"git clone http://localhost:{ports.git}/demo.git\n\n"
                f"notifications  http://localhost:{ports.inbox}\n\n"
                f"{_EMULATED_GOOGLE if google_emulator else _describe(cluster) if cluster else ''}"
                "The applications are being deployed; the console shows what to try next.\n"
                "Ctrl-C stops everything. The next start continues with the same state.",
                title="PipeCD is ready",
                expand=False,
            )
        )
        if cluster:
            print_line(f"{cluster.kubectl} get pods")

    def print_line(text: str) -> None:
        # Commands are for copying, so the terminal wraps them, and nothing is markup.
        terminal.print(text, soft_wrap=True, markup=False)

    asyncio.run(
        quickstart.run(
            state_dir,
            Ports(port),
            print_line,
            ready,
            with_aws=with_aws_emulator,
            cluster=cluster,
            google=google_emulator,
        )
    )


_EMULATED_GOOGLE = (
    "[bold]Google Cloud is emulated[/bold]: services have revisions and traffic,\n"
    "but no container runs, and nothing is sent to Google.\n\n"
)


def _cluster(
    state_dir: Path, kubeconfig: Path | None, context: str, namespace: str, gateway: str, binary: Path | None
) -> DemoCluster | None:
    """None if the demo is not that of Kubernetes. Raises UsageError."""
    if gateway and not re.fullmatch(rf"{_LABEL}/{_LABEL}([.]{_LABEL})*", gateway):
        raise click.UsageError("--gateway: namespace and name, such as infra/public")
    if gateway and not kubeconfig:
        raise click.UsageError("--gateway needs --kubeconfig; a simulated cluster has a Gateway")
    if not re.fullmatch(_LABEL, namespace):
        raise click.UsageError("--namespace: up to 63 of a-z, 0-9 and -")
    if kubeconfig and binary:
        raise click.UsageError("--kubeconfig and --simulated-cluster exclude each other")
    if kubeconfig:
        return DemoCluster(
            kubeconfig=kubeconfig.absolute(), context=context, namespace=namespace, gateway=gateway
        )
    if context:
        raise click.UsageError("--context needs --kubeconfig")
    if binary:
        written = state_dir.absolute() / "cluster" / "admin.kubeconfig"
        gateway = demo_cluster.SIMULATED_GATEWAY
        return DemoCluster(kubeconfig=written, namespace=namespace, binary=binary.absolute(), gateway=gateway)
    if namespace != demo_cluster.NAMESPACE:
        raise click.UsageError("--namespace needs --kubeconfig or --simulated-cluster")
    return None


def _describe(cluster: DemoCluster) -> str:
    if cluster.simulated:
        return (
            "[bold]The cluster is simulated[/bold]: its API server and controllers are real,\n"
            "but its pods run no containers and only have statuses.\n\n"
        )
    return f"Everything is deployed to the namespace {cluster.namespace} of your cluster.\n\n"
