"""What the daemon owns in its runtime directory: the directory with its lock, the name that keeps a second daemon from
starting, and the listening sockets. Imports control and upgrade. Nothing in here answers a request.
"""
