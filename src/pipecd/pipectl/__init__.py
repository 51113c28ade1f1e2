"""`pipectl`: the command line for people and CI. One module per resource, imported on first use."""

import os

# gRPC's C library, which is imported later, would write its own messages to standard error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from pipecd.pipectl.root import command

__all__ = ["command"]
