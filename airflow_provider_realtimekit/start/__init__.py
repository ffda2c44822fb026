"""Exactly one recording: start it, recognise it in a later try, and stop it when its task ends.

Hooks, triggers, operators and sensors may import this room. Read ``ensure`` first (what a try does, as tables), then
``send`` (what the answers to a start mean), ``search`` (how a start is marked, and its recording found again) and
``checkpoint`` (what the next try must know). ``stop`` and ``on_kill`` end a recording; ``bounds`` has all limits.
"""
