"""Energy windows and replays in, joules by layer out."""
