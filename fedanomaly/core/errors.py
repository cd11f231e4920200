"""The errors a person sees: one clear sentence each (what is wrong, where, what to do)."""


class FedAnomalyError(Exception):
    """Base of every error this package raises on purpose."""


class UserError(FedAnomalyError, ValueError):
    """Something a user asked for cannot be done; the scripts end with exit code 2."""


class FederationError(FedAnomalyError, RuntimeError):
    """The federation failed while it ran; the scripts end with exit code 1."""


class InvalidArrays(FedAnomalyError, ValueError):
    """Named arrays from another process or file are not what they must be."""
