"""Optimisation: phases and the only training loop."""
