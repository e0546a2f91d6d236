"""The way to OpenAI and Deepgram, shared fairly by all calls of the host.

openai_client, deepgram_client    what the plugins are given: every request is a request_pass
visits         a request: a seat, a rest if the provider asks for one, the count of what was used
seats          at most so many at one time; queueing: first come, first served, across processes
holding        the rest that a provider asked for, kept by all processes
fallbacks      other models while one fails; adapters: LiveKit's, which do so, but not for a refused key
for_agents     the same for an agent of your own
"""
