"""What the parts of this machine can do: products, memory, copies and the exchange between devices (step 01)."""
