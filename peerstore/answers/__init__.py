"""What questions answer: one module a topic, each beside the module of :mod:`peerstore.questions` that finds it.

Times are aware :class:`~datetime.datetime` in UTC, with microseconds; an end of ``None`` means "it still holds". An
interval is half-open: ``[start, end)``. Every answer has a ``to_dict()``: the JSON of the command line.
"""
