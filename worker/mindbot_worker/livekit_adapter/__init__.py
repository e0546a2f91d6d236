"""Every private attribute of LiveKit that is read or set. Imports livekit only. No other folder touches a private
name of LiveKit.
"""
