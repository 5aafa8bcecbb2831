"""How questions are answered: one module a topic, each ending in the typed answers of its twin in
:mod:`peerstore.answers`.

A question speaks to a database connection, within a :class:`~peerstore.coverage.Scope` (of whom, as known when, with
which limit of silence), in integer microseconds; :mod:`peerstore.store` is what users call.
"""
