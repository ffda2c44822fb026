"""The HTTP side: the API's operations, the gateway before them, the file host and the control routes."""
