"""An export over HTTP, and a model repository for Triton."""
