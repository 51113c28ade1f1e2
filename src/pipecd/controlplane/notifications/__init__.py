"""Notifications of the control plane: an agent is offline, and online again.

An agent that died can send nothing itself. `presence` decides who is offline, `receivers` are those of a
project, and `sender` sends what `store.outbox` has. The job `watch-agents` puts the events there.
"""
