"""`pipectl completion`: scripts with which a shell completes commands, options and values."""

import click
from click.shell_completion import ShellComplete, get_completion_class

PROGRAM = "pipectl"
_VARIABLE = "_PIPECTL_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete commands, options and values.

    bash: eval "$(pipectl completion bash)" in ~/.bashrc. zsh: the same in ~/.zshrc, after compinit.
    fish: pipectl completion fish > ~/.config/fish/completions/pipectl.fish
    """
    completer = get_completion_class(shell)
    assert completer
    # The scripts need bash 4.4; click's own check for it would start bash.
    click.echo(ShellComplete.source(completer(context.find_root().command, {}, PROGRAM, _VARIABLE)))
