"""The five published tables as one resumable command, and the bundle that carries their proof."""
