"""The worker side of mindbot-supervisor: runs a LiveKit AgentServer and tells its supervisor how it is."""
