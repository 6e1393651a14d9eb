"""The verbs of the doors: one transaction each, the same for Python, HTTP and the command line."""
