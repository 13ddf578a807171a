
#include <float.h>
#if defined(__FAST_MATH__) || FLT_EVAL_METHOD != 0
#error "this scaler needs IEEE arithmetic: compile without -ffast-math, and on x86 with SSE"
#endif
