// What the files that see libtorch share: the tensor of a value, errors, names of dtypes and devices.
#ifndef LUASIGHT_TORCH_COMMON_H
#define LUASIGHT_TORCH_COMMON_H
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <exception>
#include <new>
#include <string>
#include <torch/version.h>
#include "torch/torch.h"

namespace luasight {

// While a Quiet exists, warnings of libtorch are dropped, unless ls_start was given LS_START_WARNINGS.
class Dropped : public c10::WarningHandler {
 public:
#if TORCH_VERSION_MAJOR < 2
  void process(const c10::SourceLocation&, const std::string&, const bool) override {}
#else
  void process(const c10::Warning&) override {}
#endif
};
#if TORCH_VERSION_MAJOR < 2
namespace warnings = c10::Warning;
#else
namespace warnings = c10::WarningUtils;
#endif
extern bool drops_warnings;
Dropped* dropped();
class Quiet {
 public:
  Quiet() : before_(drops_warnings ? warnings::get_warning_handler() : nullptr) {
    if (before_) warnings::set_warning_handler(dropped());
  }
  ~Quiet() {
    if (before_) warnings::set_warning_handler(before_);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  c10::WarningHandler* before_;
};

// A value's pointer is the libtorch tensor itself, so that equal pointers mean the same tensor.
inline at::Tensor borrow(const void* tensor) {
  return at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim_copy(
      static_cast<c10::TensorImpl*>(const_cast<void*>(tensor))));
}

// Moves the reference of `t` into a value; an undefined tensor becomes LS_NONE.
inline ls_value give(at::Tensor t) {
  ls_value v{};
  if (!t.defined()) return v;
  ls__live_add(1);
  v.kind = LS_TENSOR;
  v.as.p = t.unsafeReleaseTensorImpl();
  return v;
}

// Makes an error of the exception that is being handled: `what` was attempted; the first line of libtorch's message is the
// cause.
ls_status fail_with_exception(const char* what);

// Runs `body`, which returns a status, and turns an exception of `body` into an error.
template <class Body>
ls_status guarded(const char* what, Body body) {
  Quiet quiet;
  try {
    return body();
  } catch (...) {
    return fail_with_exception(what);
  }
}

// Whether the numbers of a tensor are not those in its memory: a conjugate, a negative, or zeros without memory.
bool is_lazy(const at::Tensor& t);
at::Tensor plain(const at::Tensor& t);      // the same tensor, or a copy where it is lazy
ls_status need_tensor(const ls_value* v);
ls_status need_start();                     // fails before ls_start, when nothing may be made yet

const char* dtype_name(at::ScalarType type);
bool find_dtype(const char* name, at::ScalarType* out);
ls_status read_dtype(const char* name, at::ScalarType* out);   // the error of an unknown name has the nearest names
ls_status read_device(const char* name, at::Device* out);

}  // namespace luasight
#endif
