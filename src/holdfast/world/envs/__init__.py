"""Environments that live outside: simulators of other packages, run beside a policy."""
