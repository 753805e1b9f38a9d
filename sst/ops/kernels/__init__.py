"""The fused window attention in Triton. Without Triton only `op` and `pointwise_op` may be imported."""
