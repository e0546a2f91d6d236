"""Files that are read by name: where they are, and how they are read without waiting for ever. Imports errors only.
Nothing in here knows what a setting means.
"""
