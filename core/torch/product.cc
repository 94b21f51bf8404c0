// Libtorch multiplies single-precision matrices with the BLAS that it was built with. MKL, the BLAS in PyTorch's wheels, leaves
// half of the speed unused on processors that are not Intel's, and multiplies a single row at a third of the speed of memory.
// oneDNN, which the wheels contain too, compiles its code for the present processor; libtorch calls oneDNN for lower precisions
// only, so this code calls oneDNN by name. The choice of the library depends on shapes and the processor and not on a measurement,
// so that every run makes the same choice. LUASIGHT_ONEDNN=1 chooses oneDNN on every processor, LUASIGHT_ONEDNN=0 on none.
//
// The oneDNN in wheels of PyTorch up to 2.10 (oneDNN 3.7 and before) points the stack register into the heap while it multiplies, so that
// a signal such as Ctrl-C's overwrites memory there. The oneDNN in PyTorch 2.13 (oneDNN 3.12) does not do so; those between were not tried.
// So oneDNN is chosen with PyTorch 2.13 and later only.
#include "torch/product.h"
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <torch/version.h>
#include <cstdlib>
#include "torch/common.h"

namespace luasight {

namespace {

using c10::IValue;

constexpr bool IS_SAFE = TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 13);
constexpr int64_t LEAST_WORK = 1 << 19;  // a product of fewer multiplications takes less time than preparing oneDNN's call

bool is_wanted() {
  if (!IS_SAFE) return false;
  const char* asked = std::getenv("LUASIGHT_ONEDNN");
  if (asked && *asked) return *asked != '0';
#if defined(__x86_64__)
  return !__builtin_cpu_is("intel");
#else
  return false;  // on processors other than x86-64, libtorch's own BLAS is fast
#endif
}

// oneDNN's operator for the product of x and a transposed weight; null where oneDNN is not wanted or libtorch was built without it.
const c10::OperatorHandle* onednn() {
  static const auto found = is_wanted() ? c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""})
                                        : c10::optional<c10::OperatorHandle>();
  return found && at::globalContext().userEnabledMkldnn() ? &*found : nullptr;
}

bool is_plain(const at::Tensor& t, bool autograd) {
  return t.defined() && t.is_cpu() && t.scalar_type() == at::kFloat && t.layout() == at::kStrided &&
         !is_lazy(t) && !(autograd && t.requires_grad());
}

}  // namespace

Product product_of(const c10::OperatorHandle& handle) {
  auto& name = handle.operator_name();
  if (!name.overload_name.empty() || !onednn()) return Product::none;
  if (name.name == "aten::matmul" || name.name == "aten::mm") return Product::matmul;
  return name.name == "aten::linear" ? Product::linear : Product::none;
}

bool multiply(Product product, torch::jit::Stack* stack) {
  auto& x = (*stack)[0].toTensor();
  auto weight = (*stack)[1].toTensor();
  if (weight.dim() != 2 || x.dim() < 2 || weight.numel() == 0) return false;
  int64_t in = weight.size(product == Product::matmul ? 0 : 1);
  if (x.size(-1) != in || x.numel() / in * weight.numel() < LEAST_WORK) return false;
  bool autograd = at::GradMode::is_enabled();
  if (!is_plain(x, autograd) || !is_plain(weight, autograd)) return false;
  if (product == Product::matmul) weight = weight.t();  // the axes of weight are [out, in] from here on
  if (!weight.is_contiguous() && !weight.t().is_contiguous()) return false;
  IValue bias = product == Product::linear ? (*stack)[2] : IValue();
  if (!bias.isNone()) {
    auto& b = bias.toTensor();
    // oneDNN reads the numbers of a bias one behind the other, whatever its stride says.
    if (!is_plain(b, autograd) || !b.is_contiguous() || b.dim() != 1 || b.size(0) != weight.size(0)) return false;
  }
  auto* op = onednn();
  if (!op) return false;
  torch::jit::Stack call{x, weight, bias, "none", c10::List<c10::optional<at::Scalar>>(), ""};
  op->callBoxed(&call);
  *stack = std::move(call);
  return true;
}

}  // namespace luasight
