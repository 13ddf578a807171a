#!/bin/sh
# Run Vivado on the Verilog of this folder: ./run_vivado.sh [PART]; written by hepprune.
# Then, where hepprune is installed: hepprune ingest FOLDER --ledger ledger.sqlite
set -e
cd "$(dirname "$0")"
command -v vivado >/dev/null || { echo "vivado is not on PATH: source settings64.sh of Vivado first" >&2; exit 3; }
exec vivado -mode batch -nojournal -log vivado.log -source vivado.tcl -tclargs "${1:-@part}"
