"""Counted work and ceilings in, rates, roofline and floor out."""
