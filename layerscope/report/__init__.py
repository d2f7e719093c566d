"""One renderer a file: a record and an account go in, text, tables or an event file come out."""
