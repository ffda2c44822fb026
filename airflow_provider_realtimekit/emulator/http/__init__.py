"""The HTTP side: the documented API, the gateway's checks before it, the file host and the control routes.

It may import `world/` and `media/`; only the server, the fixture and the state file import it. Read `app` (what
happens to each request), then `routes` and `control_routes`, then the file for the behaviour that you need:
`authentication`, `rate_limit`, `faults`, `ledger`, `request_bodies`, `listing`, `responses`, `errors`, `signed_links`.
"""

#: The path of the API, with which the host of a connection ends.
API_PATH = "/client/v4"
#: The path of the control routes, by which tests drive the emulator.
CONTROL_PATH = "/_emulator"
#: The path of the file host.
FILES_PATH = "/files"
