"""What workers and their job processes write to stdout and stderr: JSON lines, without ever waiting for a reader.
Imports protocol and the settings' package. No other folder writes to a standard descriptor.
"""
