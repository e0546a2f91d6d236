"""Calls: tracked, recovered, migrated, quarantined. Pure; imports only core and the settings' models. Nothing in
here speaks to LiveKit.
"""
