"""A stored image goes in, an RGB image comes out, or `DataError` with the reason."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

# PIL warns above this many pixels and refuses only above twice as many; here it is the limit.
MAX_PIXELS = 89_478_485


def decode(stored: Any) -> Image:
    """RGB pixels of a stored image: encoded bytes, or the `{"bytes", "path"}` of a hub column.

    Transparency is laid over white, 16-bit grey is scaled to 8 bits, EXIF orientation is applied.

    Raises:
        DataError: no bytes, not an image, cut short, or more than `MAX_PIXELS` pixels.
    """
    import PIL.Image
    import PIL.ImageOps

    encoded = stored.get("bytes") if isinstance(stored, Mapping) else stored
    if not encoded:
        raise DataError("the image column holds no bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            image = PIL.Image.open(io.BytesIO(encoded))
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{image.width}x{image.height} is more than {MAX_PIXELS} pixels")
        image.load()
        return _rgb(PIL.ImageOps.exif_transpose(image))
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
        raise DataError(f"the image is larger than {MAX_PIXELS} pixels") from None
    # PIL's decoders raise any of these on damaged files (SyntaxError: a broken PNG chunk).
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as error:
        raise DataError(f"the image cannot be decoded ({error})") from None


def _rgb(image: Image) -> Image:
    import PIL.Image

    if image.mode == "I" or image.mode.startswith("I;16"):
        # convert("RGB") would clip 16-bit values at 255 and leave a white picture.
        import numpy as np

        grey = (np.asarray(image) // 256).clip(0, 255).astype("uint8")
        return PIL.Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        ground = PIL.Image.new("RGBA", image.size, (255, 255, 255, 255))
        return PIL.Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
