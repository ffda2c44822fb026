"""Airflow connections: read, checked, and turned into values that the API understands.

Hooks and operators may import it. Read ``form`` first (the fields that Airflow's form shows), then ``realtimekit``
(a connection to the API) and ``storage`` (a connection to the user's own storage). Importing the room costs nothing.
"""
