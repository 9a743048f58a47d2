"""What `zoo serve` runs: an export over HTTP, by the Open Inference Protocol."""
