"""Sends notifications: `message` says what, `routing` to whom, and `sinks` how.

Used by the agent (`piped.notify`), and by the control plane for the state of agents.
"""
