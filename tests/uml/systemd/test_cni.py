"""Networks that others make, in this kernel, which has all that is needed for them."""

import subprocess

import pytest

from tests.test_cni import joined, node, serve, test_service_is_reached_by_its_address

__all__ = ["joined", "node", "serve", "test_service_is_reached_by_its_address"]


@pytest.fixture(scope="module", autouse=True)
def _bridges_ask_iptables() -> None:
    """As on each node of Kubernetes: this module is the one that nobody else asks for."""
    subprocess.run(["modprobe", "br_netfilter"], check=True)
