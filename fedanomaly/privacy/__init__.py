"""Secure sums: the only place where masking, encryption and noise are plugged in."""
