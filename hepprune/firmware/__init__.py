"""Firmware of a Network: the hls4ml project, the Verilog, their simulations, and the proof that all agree."""

from hepprune.firmware import equivalence, hls, routes, rtl

__all__ = ["equivalence", "hls", "routes", "rtl"]
