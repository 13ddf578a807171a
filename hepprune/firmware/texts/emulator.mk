# `make` builds @name.so, `make check` holds it against its test vectors; AP_TYPES may be any copy of the ap_types.
CXX ?= g++
AP_TYPES ?= firmware/ap_types
CXXFLAGS += -O2 -std=c++17 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -ffp-contract=off
CXXFLAGS += $(shell $(CXX) -fno-gnu-unique -E -x c++ /dev/null >/dev/null 2>&1 && echo -fno-gnu-unique)

all: @name.so

@name.so: @name.cc firmware/@top.cpp emulator.h scales.h
	$(CXX) $(CXXFLAGS) -I. -I$(AP_TYPES) -shared @name.cc firmware/@top.cpp -o $@

check: check-models.cc emulator.h @name.so
	$(CXX) -O1 -std=c++17 -I. check-models.cc -o check-models -ldl
	./check-models ./@name.so vectors.txt

clean:
	rm -f @name.so check-models

.PHONY: all check clean
