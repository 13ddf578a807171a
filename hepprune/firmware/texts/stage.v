`timescale 1 ns / 1 ps

module @name (
    input [@n_in-1:0] model_inp,
    output [@n_out-1:0] model_out
);

@wires

@instances
    @rest rest (.model_inp({@given, model_inp}), .model_out(model_out));

endmodule
