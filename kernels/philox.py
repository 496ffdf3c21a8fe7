"""Random words on lanes: Philox4x32-10 with the project's counter layout."""

import triton
import triton.language as tl


@triton.jit
def words(seed, x, y, purpose):
    """Four u32 words of counter (x low, x high, y, purpose): x i64, y and purpose any width."""
    x = x.to(tl.uint64)
    low, high = x.to(tl.uint32), (x >> 32).to(tl.uint32)
    return tl.philox(seed, low, high, y.to(tl.uint32), purpose.to(tl.uint32))
