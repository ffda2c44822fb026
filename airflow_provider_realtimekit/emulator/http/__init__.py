"""The HTTP side: the documented API, the gateway's checks before it, the file host and the control routes.

It may import `world/` and `media/`; only the server, the fixture and the state file import it. Read `app` (what
happens to each request), then `routes` and `control_routes`, then the file that decides what you look for:
`authentication`, `rate_limit`, `faults`, `ledger`, `request_bodies`, `listing`, `responses`, `errors`, `signed_links`.
"""

#: Where the API begins; a connection has it as the end of its host.
API_PATH = "/client/v4"
#: Where tests drive the emulator.
CONTROL_PATH = "/_emulator"
#: Where the file host begins.
FILES_PATH = "/files"
