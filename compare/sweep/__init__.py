"""An experiment over axes of its keys, kept shard by shard."""
