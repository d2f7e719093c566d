"""From a `RunConfig` to what runs: the loaded model and the batches it is given."""
