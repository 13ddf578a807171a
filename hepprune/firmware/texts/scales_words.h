
/* Words of one jet's raw features, or, without touching them, 1 + the place of a value that is not finite (scaled). */
static inline int @port@function(const @type x[@port_VALUES], int64_t words[@port_VALUES]) {
  @_number scaled[@port_VALUES];
  for (int v = 0; v < @port_VALUES; ++v) {
    const int f = v % @port_FEATURES;
    @scale
    if (!@_is_finite(scaled[v])) return 1 + v;
  }
  for (int v = 0; v < @port_VALUES; ++v) words[v] = @port_word(v, scaled[v]);
  return 0;
}
