"""Wait for recordings: what ends a wait, and how thousands of waits in a triggerer share few requests.

Triggers, operators and sensors may import this room. It imports ``hooks`` and the rooms below. Read ``outcome`` first
(what ends a wait, on a worker or in a triggerer), then ``planner`` (list pages, or a GET for each recording),
``waiter`` (one wait, and when it is due), ``poller`` (poll rounds, and what a failed one means) and ``shared`` (which
poller a wait uses, and rotated tokens).
"""
