"""The agent: watches Git and the control plane, and brings applications to the commits that Git names."""
