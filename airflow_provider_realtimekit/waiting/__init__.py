"""Wait for recordings: what ends a wait, and how many waits share one poll of the API.

Triggers, operators and sensors may import it. Read ``outcome`` first (what ends a wait), then ``planner`` (list pages
or single GETs), ``waiter`` (the waits of a process), ``poller`` (when they are polled) and ``shared`` (which poller a
wait belongs to). It imports ``hooks`` and the rooms below.
"""
