"""Digital River as a provider of the lanes: the aiohttp client, the reading of its objects, and its webhook signature.

The only place that knows Digital River's names and shapes (version 2021-12-13); what leaves it are the structs of
``statemachine.messages.facts``. Money never passes through a binary float.
"""
