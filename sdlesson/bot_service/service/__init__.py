"""The bot of `sdlesson/bot/` with a memory that lasts, put together and run."""
