"""A sweep's cells on the machines of a Ray cluster. Ray is imported when it is asked for."""
