"""Questions about the observers themselves: coverage, gaps, clocks, disagreements."""
