"""Layer replay: a model and a traced batch go in, energy windows of single layers come out."""
