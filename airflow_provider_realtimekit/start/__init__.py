"""Exactly one recording: starting it, recognising it in a later try, and stopping it when its task is ended.

Hooks, triggers, operators and sensors may import it. Read ``checkpoint`` first (what a task stores for its next try),
then ``ensure`` (the start), ``lookup`` (finding the recording of a start that got no clear answer) and ``on_kill``.
"""
