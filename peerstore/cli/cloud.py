"""Commands about links to the cloud: since when, over whom."""
