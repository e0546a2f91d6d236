"""The deciding half: facts in, actions and changes out. No clock, randomness, I/O, logging or asyncio in here."""
