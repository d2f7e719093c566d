"""The private names of torch and transformers that layerscope uses, each with a purpose and a probe."""
