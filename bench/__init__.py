"""The benchmark: what a gateway costs in CPU, time and memory, side by side with its peers on one machine."""
