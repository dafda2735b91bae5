"""Carries out what a search asks for: one runner, and the parts it is made of."""
