
/* Whole number of steps of the type of value v. */
static inline int64_t @port_word(int v, @_number a) {
  const int64_t lowest = @port_lowest[v], highest = @port_highest[v];
  int s = -@port_fraction[v] - a.e;
  int64_t q = 0;
  if (s > 0) {
    if (s > 62) s = 62;
    q = a.m >> s;
    const int64_t r = a.m - q * (INT64_C(1) << s), half = INT64_C(1) << (s - 1);
    (void)r, (void)half;
    q += @round;
  } else if (a.m) {
    @overflow
  }
  @fit
}
