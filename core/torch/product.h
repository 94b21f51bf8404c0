// Products with a weight, multiplied by the library that is faster on this machine.
#ifndef LUASIGHT_TORCH_PRODUCT_H
#define LUASIGHT_TORCH_PRODUCT_H
#include <ATen/core/dispatch/Dispatcher.h>

namespace luasight {

enum class Product : uint8_t { none, matmul, linear };

Product product_of(const c10::OperatorHandle& handle);  // the kind of product that an operator computes

// Multiplies the arguments on the stack and leaves the product there. Returns false, and changes nothing, where libtorch's own
// multiplication is as fast or the only one possible.
bool multiply(Product product, torch::jit::Stack* stack);

}  // namespace luasight
#endif
