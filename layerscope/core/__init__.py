"""What everyone may import, without torch or numpy: errors, words, files, configuration."""
