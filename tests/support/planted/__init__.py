"""Delays of known length planted in layers, and whether an account gives them to these layers."""
