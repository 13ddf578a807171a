// Plays inputs.hex into @top, one jet per clock, and compares what comes out @latency clock edges after each with
// outputs.hex. Run it in this folder with the Verilog of @verilog; written by hepprune.
`timescale 1 ns / 1 ps

module testbench;
  reg clk = 0;
  reg [@n_in-1:0] inputs[0:@last];
  reg [@n_out-1:0] outputs[0:@last];
  reg [@n_in-1:0] model_inp;
  wire [@n_out-1:0] model_out;
  integer jet, mismatches;

  @top dut (.clk(clk), .model_inp(model_inp), .model_out(model_out));

  initial begin
    $readmemh("inputs.hex", inputs);
    $readmemh("outputs.hex", outputs);
    mismatches = 0;
    for (jet = 0; jet <= @last + @latency; jet = jet + 1) begin
      model_inp = inputs[jet > @last ? @last : jet];
      #1 clk = 1;
      #1 if (jet >= @latency && model_out !== outputs[jet-@latency]) begin
        mismatches = mismatches + 1;
        $display("jet %0d: %h instead of %h", jet - @latency, model_out, outputs[jet-@latency]);
      end
      clk = 0;
    end
    $display("%0d jets, %0d mismatches", @last + 1, mismatches);
    $finish;
  end
endmodule
