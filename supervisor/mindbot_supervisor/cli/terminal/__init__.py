"""What commands print, and on what: lines, JSON and tables, on terminals, in pipes, and where nothing can be written.

It may import `mindbot_config.output.printable`, the errors and, for terminals, rich. It knows no command and no daemon.
"""
