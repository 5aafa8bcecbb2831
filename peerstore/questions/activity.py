"""Questions about how much happened: changes per time, and as they come."""
