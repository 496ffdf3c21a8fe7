"""Stream: batches in order. Where a sampler is, what it had before, whose share it hands out."""
