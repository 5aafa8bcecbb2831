"""Commands about the connections of pairs: contacts, flapping, transports, degree."""
