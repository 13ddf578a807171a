"""Firmware of a Network: the hls4ml project, the Verilog, their simulations, and the proof that all agree."""
