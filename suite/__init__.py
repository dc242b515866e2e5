"""Running many and reporting: specs, plans, lanes, the store and its tables."""
