"""Bits that are found constant while they wait in the registers of a deep pipeline, taken away at once for Yosys.

Yosys' `opt -fast` takes a constant bit out of one register, looks at the whole design, and finds the next register. In
the 95 stages of a recurrent network, over which signs and the last bits of biases wait, that was more than half of its
time. Here each register that a constant enters is marked, and all that are reached from a mark through registers alone
are constant too.
"""

DEEP = 32  # stages from which it is worth it; what is less deep is left to Yosys alone
FILE = "waiting.v"

# Registers without a start value, as in the Verilog of this package: nothing tells a constant from one that arrives.
VERILOG = """(* techmap_celltype = "$_DFF_P_" *)
module waiting(input C, input D, output Q);
`ifdef ALL
  assign Q = `VALUE;
endmodule

(* techmap_celltype = "$_TBUF_" *)
module mark(input A, input E, output Y);
  assign Y = `VALUE;
`else
  parameter _TECHMAP_CONSTMSK_D_ = 1'b0;
  parameter _TECHMAP_CONSTVAL_D_ = 1'b0;
  wire _TECHMAP_FAIL_ = _TECHMAP_CONSTMSK_D_ !== 1'b1 || _TECHMAP_CONSTVAL_D_ !== `VALUE;
  \\$_TBUF_ mark (.A(`VALUE), .E(1'b1), .Y(Q));
`endif
endmodule
"""


def _taken(value: str) -> str:
    return f"""techmap -D VALUE={value} -map {FILE}
opt_clean -purge
splitnets
select -set waiting t:$_TBUF_ %co*:+$_TBUF_[Y]:+$_DFF_P_[D,Q] t:$_TBUF_ t:$_DFF_P_ %u %i
techmap -D VALUE={value} -D ALL -map {FILE} @waiting
opt_expr
"""


# A selection knows nets, not bits, so they are split; one `opt -fast` up to its second look comes before.
FINE = f"""opt -full
xilinx_srl -variable -minlen 3
techmap -map +/techmap.v -D LUT_SIZE=6 -map +/xilinx/arith_map.v
opt_expr
opt_merge
opt_dff
opt_clean
opt_expr
{_taken("1'b1")}{_taken("1'b0")}opt -fast
"""
