// Gradients in a trace: leaves of the autograd graph, hooks that take a gradient, and the other functions of autograd for traces.
#include <ATen/ATen.h>
#include <memory>
#include "torch/common.h"

using namespace luasight;

bool ls__tensor_requires_grad(void* tensor) { return borrow(tensor).requires_grad(); }

// Makes a leaf of the autograd graph with the numbers of a tensor; LS_NONE where the dtype has no gradients (whole numbers).
ls_status ls__tensor_leaf(void* tensor, ls_value* out) {
  return guarded("recording for a gradient", [&] {
    auto t = borrow(tensor);
    *out = ls_value{};
    if (!at::isFloatingType(t.scalar_type()) && !at::isComplexType(t.scalar_type())) return LS_OK;
    auto leaf = t.detach();
    leaf.set_requires_grad(true);
    *out = new_value(leaf);
    return LS_OK;
  });
}

// Sets requires_grad on a parameter, so that autograd records for it; `*made_trainable` says whether requires_grad was off before.
ls_status ls__tensor_make_trainable(void* tensor, bool* made_trainable) {
  return guarded("recording for the gradient of a parameter", [&] {
    auto t = borrow(tensor);
    *made_trainable = !t.requires_grad();
    if (*made_trainable) t.set_requires_grad(true);
    return LS_OK;
  });
}

void ls__tensor_make_untrainable(void* tensor) {
  try {
    auto t = borrow(tensor);
    t.mutable_grad() = at::Tensor();
    t.set_requires_grad(false);
  } catch (...) {
  }
}

// Cuts the tensors in a value from autograd's history, so that a value that is saved past a trace does not keep the history alive.
void ls__value_detach(ls_value* v) {
  if (v->kind == LS_TENSOR && borrow(v->as.p).requires_grad()) {
    try {
      ls_value fresh = new_value(borrow(v->as.p).detach());
      ls_value_release(v);
      *v = fresh;
    } catch (...) {
    }
  } else if (v->kind == LS_TUPLE || v->kind == LS_STRUCT) {
    for (int32_t i = 0; i < ls_seq_length(v); i++) ls__value_detach(&ls__seq_items(v)[i]);
  }
}

ls_status ls__tensor_same_sizes(void* given, void* like) {
  auto a = borrow(given), b = borrow(like);
  if (a.sizes() == b.sizes()) return LS_OK;
  auto text = [](const at::Tensor& t) {
    std::string s = "[";
    for (int64_t i = 0; i < t.dim(); i++) s += (i ? ", " : "") + std::to_string(t.size(i));
    return s + "]";
  };
  return ls__fail(LS_ERROR_SHAPE, "a gradient must have the shape of its value, which is %s, not %s", text(b).c_str(), text(a).c_str());
}

// ---- hooks -------------------------------------------------------------------------------------------------------------

struct ls__capture {
  std::shared_ptr<at::Tensor> taken;
};

ls_status ls__capture_new(void* tensor, ls__capture** out) {
  return guarded("watching a gradient", [&] {
    auto taken = std::make_shared<at::Tensor>();
    borrow(tensor).register_hook([taken](const at::Tensor& gradient) { *taken = gradient; });
    *out = new ls__capture{taken};
    return LS_OK;
  });
}

// Moves the gradient that the hook `capture` got from the last backward to `out`; LS_NONE where the hook
// got no gradient since the last call of this function.
ls_status ls__capture_take(ls__capture* capture, ls_value* out) {
  *out = ls_value{};
  if (!capture) return LS_OK;
  return guarded("taking a gradient", [&] {
    *out = new_value(*capture->taken);
    *capture->taken = at::Tensor();
    return LS_OK;
  });
}

void ls__capture_free(ls__capture* capture) { delete capture; }

// ---- rows --------------------------------------------------------------------------------------------------------------

ls_status ls__tensor_narrow(void* tensor, int32_t axis, int64_t first, int64_t count, ls_value* out) {
  return guarded("the rows of an invoke", [&] {
    *out = new_value(borrow(tensor).narrow(axis, first, count));
    return LS_OK;
  });
}

ls_status ls__tensor_with_rows(void* whole, void* part, int32_t axis, int64_t first, int64_t all, ls_value* out) {
  return guarded("setting the rows of an invoke", [&] {
    auto rows = borrow(part);
    at::Tensor fresh;
    if (whole) {
      fresh = borrow(whole).clone();
    } else {
      auto sizes = rows.sizes().vec();
      sizes[static_cast<size_t>(axis)] = all;
      fresh = at::empty(sizes, rows.options());
    }
    auto place = fresh.narrow(axis, first, rows.size(axis));
    if (place.sizes() != rows.sizes())
      return ls__fail(LS_ERROR_SHAPE, "among several invokes a value that an invoke sets must have the sizes of the "
                                      "value that it replaces, except on the axis of the rows");
    place.copy_(rows);
    *out = new_value(fresh);
    return LS_OK;
  });
}
