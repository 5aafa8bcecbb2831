"""Commands about why a peer was as it was at a moment, and what an answer rests on."""
