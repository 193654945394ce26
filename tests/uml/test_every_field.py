"""bundles/every_field where cgroup v2 has its controllers."""

from tests.test_every_field import (
    network,
    test_bundle_runs_and_says_what_its_fields_made,
    test_what_the_ground_lacks_is_refused_by_name,
)

__all__ = [
    "network",
    "test_bundle_runs_and_says_what_its_fields_made",
    "test_what_the_ground_lacks_is_refused_by_name",
]
