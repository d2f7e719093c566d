"""Models whose images are tiles of one side, those of all images one after another in `pixel_values`."""

MODEL_TYPES = ("internvl", "aya_vision", "cohere2_vision")
FLAT_TILES = True
