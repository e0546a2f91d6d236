"""The settings made concrete for this host, and their reload. Imports config, core and processes. Nothing in here
reads a file by itself.
"""
