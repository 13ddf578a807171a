`timescale 1ns / 1ps

module @name (
    input [@address-1:0] in,
    output reg [@width-1:0] out
);

  always @(*) begin
    case (in)
@entries
    endcase
  end

endmodule
