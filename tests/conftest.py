"""What must not pass from one test to the next."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command run in this process may set the log up for itself, on a stderr that ends with its test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
