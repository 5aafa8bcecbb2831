"""Questions about the fleet: values and their roll-out, names, keys, expected peers."""
