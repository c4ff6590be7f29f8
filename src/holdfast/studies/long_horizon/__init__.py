"""Study long-horizon."""
