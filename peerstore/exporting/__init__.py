"""Taking a history elsewhere: one module a format, each with a function ``write(source, path)``.

:mod:`peerstore.exporting.source` is what they read, :mod:`peerstore.exporting.tables` the tables that several of them
hold, :mod:`peerstore.exporting.formats` the list of them.
"""
