"""An account in, what the device waited for and a choice of its moments out."""
