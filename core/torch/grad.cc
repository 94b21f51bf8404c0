// What a trace asks of autograd besides gradients (capture.cc): parameters that train for a while, values without history, rows.
#include <ATen/ATen.h>
#include "torch/common.h"

using namespace luasight;

bool ls__tensor_requires_grad(void* tensor) { return borrow(tensor).requires_grad(); }

bool ls__tensor_has_gradients(void* tensor) {
  auto type = borrow(tensor).scalar_type();
  return at::isFloatingType(type) || at::isComplexType(type);
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

bool ls__tensor_has_history(void* tensor) { return borrow(tensor).grad_fn() != nullptr; }

void ls__tensor_drop_history(void* tensor) {
  try {
    auto t = borrow(tensor);
    if (t.grad_fn()) t.detach_();
  } catch (...) {
  }
}

ls_status ls__tensor_same_sizes(void* given, void* like) {
  auto a = borrow(given), b = borrow(like);
  if (a.is_complex() && !b.is_complex())
    return ls__fail(LS_ERROR_ARGUMENT, "the gradient of a real value must be real, not complex; take torch.real(g) of it");
  if (a.sizes() == b.sizes()) return LS_OK;
  auto text = [](const at::Tensor& t) {
    std::string s = "[";
    for (int64_t i = 0; i < t.dim(); i++) s += (i ? ", " : "") + std::to_string(t.size(i));
    return s + "]";
  };
  return ls__fail(LS_ERROR_SHAPE, "a gradient must have the shape of its value, which is %s, not %s", text(b).c_str(), text(a).c_str());
}

// ---- rows --------------------------------------------------------------------------------------------------------------

ls_status ls__tensor_narrow(void* tensor, int32_t axis, int64_t first, int64_t count, ls_value* out) {
  return guarded("the rows of an invoke", [&] {
    *out = new_value(borrow(tensor).narrow(axis, first, count));
    return LS_OK;
  });
}

ls_status ls__tensor_with_rows(void* whole, void* part, int32_t axis, int64_t first, int64_t all, bool in_place, ls_value* out) {
  return guarded("setting the rows of an invoke", [&] {
    auto rows = borrow(part);
    at::Tensor fresh;
    if (whole) {
      fresh = in_place ? borrow(whole) : borrow(whole).clone();
      if (fresh.scalar_type() != rows.scalar_type())
        return ls__fail(LS_ERROR_ARGUMENT, "among several invokes a value that an invoke sets must have the dtype of the value that it "
                                           "replaces, which is %s, not %s; convert it first",
                        dtype_name(fresh.scalar_type()), dtype_name(rows.scalar_type()));
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
