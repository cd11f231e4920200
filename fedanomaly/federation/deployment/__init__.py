"""The deployment engine: a real SuperLink and real SuperNodes, one process group each."""
