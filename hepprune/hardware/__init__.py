"""What an FPGA has, what a budget allows, and what a layer costs."""
