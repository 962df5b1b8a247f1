"""The bot in public: what it takes to keep its promises, on one machine and on many."""
