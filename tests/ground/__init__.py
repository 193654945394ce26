"""The test ground: a second kernel, bundles, the runtime under test, and what it may not leave behind."""
