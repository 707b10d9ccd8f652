"""
The log names that users know, over the standard library's logging. The dotted module is needed to import one.

The application's own logging is left alone: no handler but a ``NullHandler``, and no level until ``set_log_level``.
"""
