"""The commands of the command line: one file for each group, a function for each command.

A file may import what the command line shares, the client and, when its command is used, the settings or the daemon.
None imports what only another command needs; none prints but by `cli/terminal/`.
"""
