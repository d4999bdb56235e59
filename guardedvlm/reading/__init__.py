"""Reading: from a raster to lines of words with boxes and confidence. Both zones use it; it knows no policy.

Beside it what a sentence means, as a vector (`embedding`), and where weights lie (`weights`).
"""
