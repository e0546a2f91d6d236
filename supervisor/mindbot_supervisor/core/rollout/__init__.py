"""Rolling updates: which slots are replaced, in which order, and when the update stops. Pure; imports only core.
Nothing in here starts a worker by itself.
"""
