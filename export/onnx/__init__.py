"""A model as ONNX files.

`files` writes them: `preflight` converts in memory and names what cannot be, `simplify` rewrites
the graphs to fewer nodes (`layout`, `subpixel`), `reduced` lowers their precision, and `graphs` is
what all of these are made of.
"""
