"""bundles/every_field where cgroup v2 has its controllers."""

from tests.test_every_field import network, test_bundle_runs_and_says_what_its_fields_made

__all__ = ["network", "test_bundle_runs_and_says_what_its_fields_made"]
