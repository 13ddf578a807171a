"""Verilog: adder graphs of da4ml, modules and tables in it, its simulation, and what others need around it."""
