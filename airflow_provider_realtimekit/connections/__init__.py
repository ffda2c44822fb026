"""Airflow connections: each is read, checked, and turned into values that the API understands.

May be imported by everything above: the hook, the waits, triggers and operators. It imports ``api`` and ``models``.
Read ``form`` first (the fields that Airflow's connection form shows), then ``realtimekit`` (a connection to the API)
and ``storage`` (a connection to the user's own storage). Importing the room itself costs nothing.
"""
