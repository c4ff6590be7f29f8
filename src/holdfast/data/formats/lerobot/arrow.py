"""pyarrow and its parquet module, imported when first needed: they are slow to import, and without types."""

from typing import Any


def pyarrow() -> Any:
    """The module `pyarrow`."""
    import pyarrow as module  # pyright: ignore[reportMissingTypeStubs]

    return module


def parquet() -> Any:
    """The module `pyarrow.parquet`."""
    import pyarrow.parquet as module  # pyright: ignore[reportMissingTypeStubs]

    return module
