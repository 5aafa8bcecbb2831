"""Commands about how long peers were there, away, or not looked at."""
