"""Several models in one bot: which there are, who draws with which, and pictures drawn before.

Read in this order: `catalogue` (what the operator offers, and A/B), `cards` (what is known of each
model without loading it), `loading` (a bounded number of them in memory), `cache`, `metrics`.
"""
