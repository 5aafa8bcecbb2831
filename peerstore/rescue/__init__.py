"""Rescue: what a damaged database still tells for sure, recorded into a new one. Never writes to the damaged one."""
