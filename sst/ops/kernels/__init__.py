"""The fused window attention in Triton. Only `op` may be imported where Triton is not installed."""
