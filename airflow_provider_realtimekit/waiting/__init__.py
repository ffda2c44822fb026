"""Wait for recordings: what ends a wait, and how many waits share one poll of the API.

Triggers, operators and sensors may import it. Read ``outcome`` first (what ends a wait), then ``planner`` (which
requests a poll round sends), ``entries`` and ``book`` (the waits of a process), ``looks`` and ``poller`` (the rounds)
and ``shared`` (which poller a wait belongs to). It imports ``hooks`` and the rooms below.
"""
