"""Commands about the shape of the mesh: islands, cut peers, paths."""
