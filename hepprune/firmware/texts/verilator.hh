#include <cstdint>
#include <cstring>
// The bits of a port lie one after the other, the lowest first, in whatever whole number or array Verilator has for it.
template <size_t N, size_t width, typename port_t> void write_input(port_t &port, const int64_t *values) {
    static_assert(N * width <= 8 * sizeof(port_t), "the port is narrower than its words");
    auto bytes = reinterpret_cast<unsigned char *>(&port);
    std::memset(bytes, 0, sizeof(port_t));
    for (size_t bit = 0; bit < N * width; ++bit)
        bytes[bit / 8] |= ((values[bit / width] >> (bit % width)) & 1) << (bit % 8);
}
template <size_t N, size_t width, typename port_t> void read_output(const port_t &port, int64_t *values) {
    static_assert(N * width <= 8 * sizeof(port_t), "the port is narrower than its words");
    auto bytes = reinterpret_cast<const unsigned char *>(&port);
    std::memset(values, 0, N * sizeof(int64_t));
    for (size_t bit = 0; bit < N * width; ++bit)
        values[bit / width] |= static_cast<int64_t>((bytes[bit / 8] >> (bit % 8)) & 1) << (bit % width);
}
