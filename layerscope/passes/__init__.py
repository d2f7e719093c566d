"""One pass a file: what runs the model or judges what ran in, what it found into the draft out."""
