"""What every room stands on: errors, registries, keyed randomness, named arrays, steps, the float grid."""
