"""The edge: sockets and nothing else."""
