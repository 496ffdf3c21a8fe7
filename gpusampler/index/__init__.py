"""Index: labels or class indices in, the members of each class out."""
