"""`pipectl`: the command line for people and CI. One module per resource, imported on first use."""

from pipecd.pipectl.root import command

__all__ = ["command"]
