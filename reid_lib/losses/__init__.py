"""Pure functions of tensors: the loss terms, one module per paper and `common`."""
