"""Every private name of LiveKit that is read, set or overridden, and the forkserver of its job processes. Imports
LiveKit, `agent_path` and `mindbot_config.host` only. No other folder may touch a private name of LiveKit.
"""
