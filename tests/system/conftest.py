"""Operators for the tests of this folder: one network that all share, and copies for those that break things."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssante.demo.names import Names
from tests.support.operators import DOMAINS, Network, copy_of, make_template


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three initialised operators, and a name server that knows their DKIM keys."""
    names = Names()
    template = make_template(tmp_path_factory.mktemp("system") / "template", dns=names.address)
    for name, domain in DOMAINS.items():
        names.publish(domain, template / name / "pki" / "dkim.key")
    yield template
    names.close()


@pytest.fixture(scope="session")
def network(template: Path) -> Iterator[Network]:
    """Serving all the session. Tests bring their own people and leave the operators as they found them."""
    network = copy_of(template, template.parent / "shared")
    try:
        network.serve()
        yield network
        for operator in network.operators:
            assert operator.stop() == 0
            assert operator.troubles() == []
    finally:
        network.close()


@pytest.fixture
def own_network(template: Path, tmp_path: Path) -> Iterator[Network]:
    """Not serving yet, for one test alone."""
    network = copy_of(template, tmp_path / "network")
    try:
        yield network
    finally:
        network.close()
