"""The runtime directory: claimed by one daemon, kept complete and fresh. Imports errors only. Nothing in here
serves.
"""
