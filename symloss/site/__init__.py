"""The documentation site: from generated sources to pages that work without a network."""
