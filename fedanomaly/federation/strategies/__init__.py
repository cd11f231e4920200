"""How a server turns the clients' weights into one model: Flower's own strategies, by name."""

from fedanomaly.federation.strategies.flower import (
    STRATEGIES,
    WeightsStrategy,
    averages,
    make_strategy,
    registered,
)

__all__ = ["STRATEGIES", "WeightsStrategy", "averages", "make_strategy", "registered"]
