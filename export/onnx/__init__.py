"""ONNX files: written by tf2onnx, rewritten to fewer nodes, and in less precision."""
