"""Worlds: the start operators against a server and a small Airflow that are written from the reference alone.

One world is one row of ``table``: how the server behaves, what happens in Airflow, and how it must end. The server
(``server``) and the small Airflow (``airflow``) import nothing of the package. Each try of a task and each trigger is
a process of its own (``child``), with a clock that the world moves (``virtual_time`` in the process, ``clock`` in the
world). ``judge`` decides by the server's records alone. Run them with ``python -m tests.once.worlds``.
"""
