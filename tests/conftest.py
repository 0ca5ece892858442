"""What holds in every test, and what must not pass from one to the next."""

from collections.abc import Iterator

import pytest
import structlog

from tls.asyncio_fit import fit_asyncio

fit_asyncio()  # as the service does, for the whole process


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command run in this process may set the log up for itself, on a stderr that ends with its test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
