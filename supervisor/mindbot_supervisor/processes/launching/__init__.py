"""Starting a worker: its command line and environment, the check that its program can be run, its pipes, and the
choice between fork and exec. Imports core, protocol, monitoring and the templates. Nothing in here decides when a
worker is started.
"""
