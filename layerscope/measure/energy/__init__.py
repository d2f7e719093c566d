"""Energy: joule counters and a piece of work go in, windows on the counters' edges come out."""
