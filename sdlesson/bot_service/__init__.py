"""The bot in public: it keeps its promises to many people, over restarts and on several machines.

`sdlesson/bot/` is the bot itself; nothing there needs this package. Here are a store that lasts,
limits, access, moderation, webhooks, workers on other machines, and what an operator looks at.
It needs more libraries: pip install 'sdlesson[bot,service]'.
"""
