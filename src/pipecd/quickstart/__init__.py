"""Everything on one machine: control plane, agent and a demo Git remote, started by one command."""
