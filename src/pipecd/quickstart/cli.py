"""The command `pipecd quickstart`."""

import asyncio
from pathlib import Path

import click
from rich.console import Console as Terminal
from rich.panel import Panel

from pipecd import quickstart
from pipecd.quickstart.ports import DEFAULT_PORT, Ports
from pipecd.quickstart.state import PROJECT, USERNAME, State, remove
from pipecd.telemetry import configure_logging

DEFAULT_FOLDER = "pipecd-quickstart"


@click.command("quickstart")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Directory of the databases, the Git repository and the Terraform states.",
)
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the console; the following ports are used too.",
)
@click.option(
    "--with-aws-emulator", is_flag=True, help="Add an emulated AWS with a Lambda and an ECS application."
)
@click.option("--clean", is_flag=True, help="Remove the state directory and exit.")
def command(state_dir: Path, port: int, with_aws_emulator: bool, clean: bool) -> None:
    """Run control plane, agent, a Git remote and four demo applications on this machine."""
    configure_logging("humanize", "warning")
    terminal = Terminal(highlight=False)
    if clean:
        removed = remove(state_dir)
        terminal.print(f"Removed {state_dir}" if removed else f"{state_dir} does not exist")
        return

    def ready(state: State, ports: Ports) -> None:
        terminal.print(
            Panel(
                f"[bold]http://localhost:{ports.console}[/bold]\n\n"
                f"project   {PROJECT}\nuser      {USERNAME}\npassword  {state.password()}\n\n"
                f"git clone http://localhost:{ports.git}/demo.git\n\n"
                "The applications are being deployed; the console shows what to try next.\n"
                "Ctrl-C stops everything. The next start continues with the same state.",
                title="PipeCD is ready",
                expand=False,
            )
        )

    asyncio.run(quickstart.run(state_dir, Ports(port), terminal.print, ready, with_aws=with_aws_emulator))
