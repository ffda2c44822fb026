"""Worlds: the start operators against a server and a small Airflow that are written from the reference alone.

One world is one row of ``table``: how the server behaves, what happens in Airflow, and how it must end. The server
(``model``, ``server``) and the small Airflow (``airflow``) import nothing of the package. Each try of a task and each
trigger is a process of its own (``child``, forked by ``processes``), whose clocks show the time of the world
(``virtual_time`` in the process, ``clock`` outside). ``world`` runs it all, and ``violations`` says what is wrong at
the end. Run them with ``python -m tests.once.worlds``, or as tests.
"""
