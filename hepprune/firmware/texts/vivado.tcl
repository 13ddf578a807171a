# Synthesis, placement and routing of @top out of context, in this folder; written by hepprune.
# The reports that it leaves are those that `hepprune ingest` reads.
set part [expr {$argc > 0 ? [lindex $argv 0] : "@part"}]
read_verilog -sv {@sources}
set constraints [open clock.xdc w]
puts $constraints {create_clock -period @clock -name clk [get_ports clk]}
close $constraints
read_xdc -mode out_of_context clock.xdc
synth_design -mode out_of_context -flatten_hierarchy rebuilt -top @top -part $part
report_utilization -file vivado_synth.rpt
opt_design
place_design
route_design
report_utilization -file vivado_route.rpt
report_timing_summary -file vivado_timing.rpt
write_checkpoint -force @top.dcp
