"""Names in firmware: for each of the user's one that every tool can bear, and the table that leads back."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from pydantic import TypeAdapter

from hepprune.files import write_text

FILE = "hepprune_names.json"
_MAX_LENGTH = 48  # the tools add to names, and cut those that become too long
_ODD = re.compile(r"[\W_]+", re.ASCII)
PART = "."  # between a layer's name and that of a node it takes in firmware; no layer has one in its name
_CPP = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class co_await
co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false final float for friend goto if import inline int long
module mutable namespace new noexcept not not_eq nullptr operator or or_eq override private protected public register
reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct switch template
this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void volatile wchar_t
while xor xor_eq
"""
# Macros, functions and objects that the headers of C, C++ and POSIX may bring in without a namespace.
_LIBRARY = """
abort abs acos acosh alloca asin asinh assert assert_perror atan atan2 atanh atexit atof atoi atol atoll bsearch
calloc cbrt ceil clock copysign cos cosh ctime environ erf erfc errno exit exp exp10 exp2 expm1 fabs fclose fdim feof
ferror fflush fgetc fgets floor fma fmax fmin fmod fopen fpclassify fprintf fputc fputs fread free frexp fscanf fseek
ftell fwrite gamma getc getchar getenv gets gmtime htobe16 htobe32 htobe64 htole16 htole32 htole64 hypot i386 ilogb
index infinity isalnum isalpha isdigit isfinite isinf isnan isnormal isspace issubnormal j0 j1 jn kill labs ldexp
lgamma linux llabs localtime log log10 log1p log2 logb longjmp lrint lround main major makedev malloc math_errhandling
memchr memcmp memcpy memmove memset minor mktime modf nan nearbyint nextafter null offsetof perror pipe pow printf
putc putchar puts qsort raise rand random read realloc remainder remove remquo rename rewind rindex rint round scalb
scalbln scanf sched_priority select setjmp sigmask signal signbit signgam sin sinh sleep snprintf sprintf sqrt srand
sscanf std stderr stdin stdout strcat strchr strcmp strcpy strdupa strlen strncpy strndupa strstr strtod strtok strtol
system tan tanh tgamma time timezone tmpfile tolower toupper trunc ungetc unix va_arg va_copy va_end va_list va_start
write y0 y1 yn
"""
_VERILOG = """
accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind bins
binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config const
constraint context continue cover covergroup coverpoint cross deassign default defparam design disable dist do edge
else end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface endmodule
endpackage endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually expect
export extends extern final first_match for force foreach forever fork forkjoin function generate genvar global highz0
highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input inside
instance int integer interconnect interface intersect join join_any join_none large let liblist library local
localparam logic longint macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive priority program
property protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1
s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled signed small
soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1 sync_accept_on
sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand
trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var vectored virtual void
wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
"""
_VHDL = """
abs access after alias all and architecture array assert assume assume_guarantee attribute begin block body buffer bus
case component configuration constant context cover default disconnect downto else elsif end entity exit fairness file
for force function generate generic group guarded ieee if impure in inertial inout is label library linkage literal loop
map mod nand new next nor not null of on open or others out package parameter port postponed procedure process
property protected pure range record register reject release rem report restrict restrict_guarantee return rol ror
select sequence severity shared signal sla sll sra srl strong subtype then to transport type unaffected units until
use variable vmode vprop vunit wait when while with work xnor xor
"""
# What hls4ml, Vitis HLS and da4ml call their own: namespaces, files, local variables, modules and control ports.
_TOOLS = """
ap_bigint ap_biguint ap_bit ap_clk ap_continue ap_done ap_fixed ap_idle ap_int ap_ready ap_rst ap_rst_n ap_start
ap_types ap_ufixed ap_uint clk cstr current defines e fin fout fpr hls i ii iline in input inputs layer loaded_weights
lookup_table model_default model_inp model_out multiplier mux myproject negative nnet nnet_utils output outputs
parameters pline pr ptr result results_log rst shift_adder tb_data test trace_data weights
"""
WORDS = frozenset(f"{_CPP} {_LIBRARY} {_VERILOG} {_VHDL} {_TOOLS}".split())
# Arrays of constants (w2, br3), and what hls4ml makes of another name with an ending: the types of a softmax's tables,
# of a recurrent layer's weights, a type or the bridge's copy of an input.
_LIKE_THEIRS = re.compile(
    r"([abdepstwz]|br|th|tl|wr)\d+|.*_(t|ap|exp|inv|inp|recurrent|dw|depthwise|pointwise|threshold)"
)
_BEGINNINGS = re.compile(  # of names that the tools make, whatever follows
    r"(?-i:[A-Z]_)"  # macros of which only the beginning is in capitals, as M_PIl
    r"|(layer|config|input|output|result|stage|be|le)\d|(w|b|br)_[a-z]_"
    r"|(ap|hls|nnet|std|si|sa|pthread|weights|dense_da|output_transform)_"
    r"|(clone|repack|zp1d|zp2d|bnbt|bn|broadcast|brdcst)_",  # layers that hls4ml adds beside another
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Names:
    """The names that firmware has for its top and for each node, by the user's."""

    top: Mapping[str, str]
    layers: Mapping[str, str]

    def layer(self, firmware: str) -> str:
        """Return the layer that a name in firmware is of, the name itself where it is none of the table."""
        return owner(self.node(firmware))

    def node(self, firmware: str) -> str:
        """Return the node that a name in firmware is of, the name itself where it is none of the table."""
        return next((name for name, there in self.layers.items() if there == firmware), firmware)

    def shown_top(self, firmware: str) -> str:
        """Return what the user calls the top."""
        return next((name for name, there in self.top.items() if there == firmware), firmware)

    def write(self, folder: Path) -> None:
        """Keep the table beside a project."""
        write_text(folder / FILE, TABLE.dump_json(self, indent=2).decode() + "\n")


TABLE = TypeAdapter(Names)


def owner(node: str) -> str:
    """Return the layer that a node is of."""
    return node.partition(PART)[0]


def safe(names: Iterable[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """Return a name in firmware for each name: the name itself where it can be, each unlike all others in any case.

    `taken` are names that others have already.
    """
    words = {name: _word(name) for name in names}
    used = {name.lower() for name in taken}
    found: dict[str, str] = {}
    for name in sorted(words, key=lambda name: words[name] != name):  # what can stay as it is comes first
        numbered = (f"{words[name]}_{number}" for number in count(1))
        candidates = chain([] if is_reserved(words[name]) else [words[name]], numbered)
        found[name] = next(word for word in candidates if word.lower() not in used)
        used.add(found[name].lower())
    return {name: found[name] for name in words}


def _word(name: str) -> str:
    """Return a word of letters, digits and single underscores; capitals alone are what macros are called."""
    word = _ODD.sub("_", name).strip("_")[:_MAX_LENGTH].strip("_")
    word = word if re.search("[a-z]", word) else word.lower()
    return word if word[:1].isalpha() and not _BEGINNINGS.match(word) else f"layer_{word}".strip("_")


def is_reserved(word: str) -> bool:
    """Return whether a word belongs to a language, its library or the tools, or is like a name that they make."""
    return word.lower() in WORDS or bool(_LIKE_THEIRS.fullmatch(word.lower()))
