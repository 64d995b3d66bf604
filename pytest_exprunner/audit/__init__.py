"""Whether anything changed after there were results, and whether what is written follows from them."""
