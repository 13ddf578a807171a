/*
 * From raw features to the input words of @, and what its output words mean; written by hepprune beside scaler.json.
 *
 * A word is a whole number of steps of its type: value = word * 2^-fraction. Word v is in the bits
 * [low_bit[v] + width[v] - 1 : low_bit[v]] of model_inp or model_out.
 * The same arithmetic as in the training, bit for bit: features are rounded to float first, and again when scaled.
 */
#ifndef @_SCALES_H
#define @_SCALES_H
@float
#include <stdint.h>
#include <string.h>

/* m * 2^e */
typedef struct {
  int64_t m;
  int e;
} @_number;

static inline int @_length(int64_t m) {
  uint64_t rest = m < 0 ? 0 - (uint64_t)m : (uint64_t)m;
  int bits = 0;
  for (; rest; rest >>= 1) ++bits;
  return bits;
}

/* Rounded to float: 24 bits, none below 2^-149, ties to even. */
static inline @_number @_rounded(@_number a) {
  int s = @_length(a.m) - 24;
  if (s < -149 - a.e) s = -149 - a.e;
  if (s <= 0) return a;
  if (s > 62) s = 62;
  const int64_t q = a.m >> s, r = a.m - q * (INT64_C(1) << s), half = INT64_C(1) << (s - 1);
  a.m = q + (r > half || (r == half && (q & 1)));
  a.e += s;
  return a;
}

/* A float, exactly; an e of 9999 says that it is not finite. */
static inline @_number @_of_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const int exponent = (int)(bits >> 23 & 0xff);
  const int64_t m = (int64_t)(bits & 0x7fffff) | (exponent ? 0x800000 : 0);
  @_number a;
  a.m = bits >> 31 ? -m : m;
  a.e = exponent == 0xff ? 9999 : (exponent ? exponent : 1) - 150;
  return a;
}

/* A whole number, as a float has it. */
static inline @_number @_of_integer(int64_t x) {
  @_number a;
  a.m = x;
  a.e = 0;
  return @_rounded(a);
}

static inline int @_is_finite(@_number a) { return !a.m || @_length(a.m) + a.e <= 128; }
@integer@ports
#endif /* @_SCALES_H */
