"""What `facegrep bench search` and the benches share: data like faces, exact engines, the truth."""
