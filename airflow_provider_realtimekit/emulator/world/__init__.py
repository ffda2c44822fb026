"""The emulated world: meetings, the people in them, and how recordings move through their states.

It knows no HTTP and raises errors of its own. `http/`, the server and the state file may import it; it imports
only `media/` and the settings. Read `models`, then `lifecycle` (the table of states), then `world` (what callers
use), `output_files` and `errors`.
"""
