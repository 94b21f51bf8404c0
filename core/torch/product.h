// Multiplies a tensor with a weight by the library that is faster on this machine, oneDNN or the BLAS of libtorch.
#ifndef LUASIGHT_TORCH_PRODUCT_H
#define LUASIGHT_TORCH_PRODUCT_H
#include <ATen/core/dispatch/Dispatcher.h>

namespace luasight {

enum class Product : uint8_t { none, matmul, linear };

// The kind of product that an operator computes.
Product product_of(const c10::OperatorHandle& handle);

// Multiplies the arguments on the stack by oneDNN and leaves the product on the stack. Returns false, and changes nothing, where
// libtorch's own multiplication is as fast or oneDNN cannot multiply the arguments.
bool multiply(Product product, torch::jit::Stack* stack);

}  // namespace luasight
#endif
