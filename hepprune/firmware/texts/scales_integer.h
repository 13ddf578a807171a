
/* v >> s, the last bit set where bits were lost. */
static inline int64_t @_sticky(int64_t v, int s) {
  if (s <= 0) return v;
  if (s > 62) s = 62;
  const int64_t q = v >> s;
  return q | (q * (INT64_C(1) << s) != v);
}

/* (a - n * 2^shift) >> shift, rounded to float as the network was trained on it. */
static inline @_number @_less(@_number a, int64_t n, int shift) {
  @_number d = a;
  if (!a.m) {
    d.m = -n;
    d.e = shift;
  } else if (n && a.e != 9999) {
    const int spare = 24 - @_length(a.m);
    if (spare > 0) {
      a.m *= INT64_C(1) << spare;
      a.e -= spare;
    }
    const int apart = a.e - shift, up = apart < 0 ? -apart : apart, s = up < 37 ? up : 37;
    const int64_t wide = INT64_C(1) << s;
    d.m = apart < 0 ? @_sticky(a.m, up - s) - n * wide : a.m * wide - @_sticky(n, up - s);
    d.e = (apart < 0 ? shift : a.e) - s;
  }
  d.e -= a.e == 9999 ? 0 : shift;
  return @_rounded(d);
}
