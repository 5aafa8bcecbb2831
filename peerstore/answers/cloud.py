"""Answers about links to the cloud: since when, over whom."""
