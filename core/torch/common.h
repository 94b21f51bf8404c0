// Functions for all files that use libtorch: the tensor of a value, errors, names of dtypes and devices.
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

// A handler that drops libtorch's warnings. An object of class Quiet sets it for its lifetime, unless ls_start got LS_START_WARNINGS.
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

// Returns the libtorch tensor of a value's pointer, with a reference of its own. The pointer is libtorch's own (TensorImpl), so that equal
// pointers mean the same tensor.
inline at::Tensor borrow(const void* tensor) {
  return at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim_copy(
      static_cast<c10::TensorImpl*>(const_cast<void*>(tensor))));
}

// Makes a value of a tensor and moves the reference into the value; an undefined tensor becomes LS_NONE.
inline ls_value new_value(at::Tensor t) {
  ls_value v{};
  if (!t.defined()) return v;
  ls__live_add(1);
  v.kind = LS_TENSOR;
  v.as.p = t.unsafeReleaseTensorImpl();
  return v;
}

// Makes an error of the exception that is being handled. `what` names the attempt that failed; the cause of the error is the first line
// of libtorch's message.
ls_status fail_with_exception(const char* what);

// Runs `body`, which returns a status, and turns an exception that it throws into an error.
template <class Body>
ls_status guarded(const char* what, Body body) {
  Quiet quiet;
  try {
    return body();
  } catch (...) {
    return fail_with_exception(what);
  }
}

// The number of a tensor that stands where a whole number is needed: an axis, a size, the bound of a slice. Throws for a fraction.
int64_t whole_number(const at::Tensor& t);

// Whether the numbers of a tensor are not those in its memory: a conjugate, a negative, or zeros without memory.
bool is_lazy(const at::Tensor& t);
at::Tensor plain(const at::Tensor& t);      // returns `t`; if `t` is lazy, a copy whose numbers are in memory
ls_status need_tensor(const ls_value* v);
ls_status need_start();                     // fails if ls_start was not called, since no tensor may be made before

const char* dtype_name(at::ScalarType type);
bool find_dtype(const char* name, at::ScalarType* out);
ls_status read_dtype(const char* name, at::ScalarType* out);   // for an unknown name, the error suggests similar names
ls_status read_device(const char* name, at::Device* out);

}  // namespace luasight
#endif
