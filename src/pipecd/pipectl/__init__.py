"""`pipectl`: the command line for people and CI. One module a noun, imported when it is used."""

from pipecd.pipectl.root import command

__all__ = ["command"]
