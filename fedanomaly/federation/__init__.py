"""Rounds: the plan of steps, the messages, the clients that answer them, the engines that carry them."""

from fedanomaly.federation.config import RunConfig

__all__ = ["RunConfig"]
