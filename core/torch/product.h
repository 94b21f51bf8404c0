// Products with a weight, multiplied by whichever library is faster on this machine.
#ifndef LUASIGHT_TORCH_PRODUCT_H
#define LUASIGHT_TORCH_PRODUCT_H
#include <ATen/core/dispatch/Dispatcher.h>

namespace luasight {

enum class Product : uint8_t { none, matmul, linear };

Product product_of(const c10::OperatorHandle& handle);  // what an operator multiplies

// Multiplies what is on the stack and leaves the product there; false, and nothing is changed, where libtorch's own way is
// as good or the only one.
bool multiply(Product product, torch::jit::Stack* stack);

}  // namespace luasight
#endif
