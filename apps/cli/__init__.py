"""The ``lipforcing`` command line: a file a group of commands. Heavy imports happen inside the commands."""
