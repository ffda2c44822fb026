"""The test media: what a file holds, and how it is made."""
