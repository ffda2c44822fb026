"""Exactly one recording: start it, recognise it in a later try, and stop it when its task ends.

Hooks, triggers, operators and sensors may import this room. Read ``checkpoint`` first (what a task stores for its
next try), then ``ensure`` (the start, and how the recording of an unanswered start is found), ``stop`` (how a recording
is stopped) and ``on_kill`` (whether a person ended the task, or only its process ends).
"""
