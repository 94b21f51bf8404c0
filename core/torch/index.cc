// Reads x[...] and sets x[...] = v, where x is a value: a tensor with indices of all kinds, a sequence with numbers, slices and names.
#include <ATen/TensorIndexing.h>
#include <ATen/ops/empty.h>
#include "torch/common.h"

using namespace luasight;
using at::indexing::TensorIndex;

namespace {

// ---- the text of an index, for errors ----------------------------------------------------------------------------------

enum { DEEPEST = 64 };  // the most lists inside each other: a tensor has at most so many axes

std::string text_at(const ls_value* s, int32_t n, int32_t* i, int32_t depth = 0) {
  const ls_value& v = s[(*i)++];
  switch (v.kind) {
    case LS_INT: return std::to_string(v.as.i);
    case LS_BOOL: return v.as.i ? "true" : "false";
    case LS_NONE: return "None";
    case LS_ELLIPSIS: return "...";
    case LS_STRING: return v.as.s;
    case LS_SLICE: {
      std::string parts[3];
      for (auto& part : parts) {
        bool none = *i < n && s[*i].kind == LS_NONE;
        part = text_at(s, n, i);
        if (none) part.clear();
      }
      return parts[0] + ":" + parts[1] + (parts[2].empty() ? "" : ":" + parts[2]);
    }
    case LS_OPEN: {
      if (depth == DEEPEST) {
        *i = ls__stream_value(s, *i - 1, n);
        return "[...]";
      }
      std::string text = "[";
      for (int64_t k = 0; k < v.as.i; k++) text += (k ? ", " : "") + text_at(s, n, i, depth + 1);
      return text + "]";
    }
    default: return "tensor";
  }
}

std::string index_text(const ls_value* s, int32_t n) {
  std::string text;
  bool plain = n == 1 && s->kind == LS_INT;
  for (int32_t i = 0; i < n;) {
    if (i) text += ", ";
    text += text_at(s, n, &i);
  }
  return plain ? "[" + text + "]" : "[\"" + text + "\"]";
}

// ---- indices of tensors ------------------------------------------------------------------------------------------------

void flatten(const ls_value* s, int32_t n, int32_t* i, std::vector<int64_t>* shape, size_t depth,
             std::vector<int64_t>* numbers, bool* booleans) {
  const ls_value& v = s[(*i)++];
  if (v.kind == LS_OPEN) {
    TORCH_CHECK_INDEX(depth < DEEPEST, "lists in an index are nested deeper than ", static_cast<int>(DEEPEST));
    TORCH_CHECK_INDEX(shape->size() > depth || numbers->empty(), "a list in an index has both numbers and lists");
    if (shape->size() == depth) shape->push_back(v.as.i);
    TORCH_CHECK_INDEX((*shape)[depth] == v.as.i, "lists in an index have different lengths");
    for (int64_t k = 0; k < v.as.i; k++) flatten(s, n, i, shape, depth + 1, numbers, booleans);
    return;
  }
  TORCH_CHECK_INDEX(depth == shape->size() && (v.kind == LS_INT || v.kind == LS_BOOL), "a list in an index must hold whole numbers");
  *booleans = *booleans && v.kind == LS_BOOL;  // among whole numbers, true is 1, as in PyTorch
  numbers->push_back(v.as.i);
}

at::Tensor list_index(const ls_value* s, int32_t n, int32_t* i) {
  std::vector<int64_t> shape, numbers;
  bool booleans = true;
  flatten(s, n, i, &shape, 0, &numbers, &booleans);
  auto t = at::empty(shape, at::kLong);
  std::copy(numbers.begin(), numbers.end(), t.data_ptr<int64_t>());
  return booleans && !numbers.empty() ? t.to(at::kBool) : t;
}

c10::optional<int64_t> bound(const ls_value& v) {
  if (v.kind == LS_NONE) return {};
  if (v.kind == LS_TENSOR) return whole_number(borrow(v.as.p));
  TORCH_CHECK_INDEX(v.kind == LS_INT, "the bounds of a slice must be whole numbers");
  return v.as.i;
}

// A bound of a slice, converted to the type that this version of libtorch takes: int64_t in old versions, SymInt in new ones.
struct Bound {
  c10::optional<int64_t> value;
  template <class T>
  operator c10::optional<T>() const { return value ? c10::optional<T>(T(*value)) : c10::optional<T>(); }
};

template <class T>
T or_else(c10::optional<int64_t> given, int64_t other) { return T(given ? *given : other); }

std::vector<TensorIndex> indices_of(const ls_value* s, int32_t n) {
  std::vector<TensorIndex> list;
  for (int32_t i = 0; i < n;) {
    const ls_value& v = s[i];
    switch (v.kind) {
      case LS_INT: list.emplace_back(v.as.i); break;
      case LS_BOOL: list.emplace_back(v.as.i != 0); break;
      case LS_NONE: list.emplace_back(at::indexing::None); break;
      case LS_ELLIPSIS: list.emplace_back(at::indexing::Ellipsis); break;
      // plain() writes the numbers of a lazy tensor (see is_lazy) to memory, since libtorch does not do so in a list of indices.
      case LS_TENSOR: list.emplace_back(plain(borrow(v.as.p))); break;
      case LS_OPEN: list.emplace_back(list_index(s, n, &i)); continue;
      case LS_SLICE: {
        auto start = bound(s[i + 1]), stop = bound(s[i + 2]), step = bound(s[i + 3]);
        TORCH_CHECK_INDEX(!step || *step > 0, "the step of a slice must be 1 or more; use x:flip(d) to reverse an axis");
        list.emplace_back(at::indexing::Slice(Bound{start}, Bound{stop}, Bound{step}));
        i += 3;
        break;
      }
      default: TORCH_CHECK_INDEX(false, "this value cannot be an index of a tensor");
    }
    i++;
  }
  return list;
}

bool has_tensor(const std::vector<TensorIndex>& indices) {
  for (auto& index : indices)
    if (index.is_tensor() || index.is_boolean()) return true;
  return false;
}

// Puts the text of the index in front of libtorch's error message.
ls_status index_failed(const ls_value* index, int32_t n, ls_status status) {
  if (status != LS_ERROR_INDEX && status != LS_ERROR_TORCH) return status;
  std::string cause = ls_error_cause();
  auto at = cause.find("out of bounds");
  if (at != std::string::npos) cause.replace(at, 13, "out of range");
  return ls__fail(status == LS_ERROR_TORCH && at == std::string::npos ? LS_ERROR_SHAPE : LS_ERROR_INDEX, "%s: %s",
                  index_text(index, n).c_str(), cause.c_str());
}

// ---- sequences ---------------------------------------------------------------------------------------------------------

ls_status sequence_place(const ls_value* self, const ls_value* index, int32_t n, int64_t* out) {
  auto* keys = ls__seq_keys(self);
  int32_t length = ls_seq_length(self);
  if (n != 1) return ls__fail(LS_ERROR_INDEX, "%s: a tuple takes one index, a struct one field; the first element is x[0]",
                    index_text(index, n).c_str());
  if (index->kind == LS_STRING) {
    int32_t at = ls_seq_find(self, index->as.s);
    if (at < 0)
      return ls__fail(LS_ERROR_NAME, "the value has no field \"%s\"%s", index->as.s,
                      ls__near(index->as.s, keys, keys ? static_cast<size_t>(length) : 0));
    *out = at;
    return LS_OK;
  }
  if (index->kind != LS_INT) return ls__fail(LS_ERROR_INDEX, "%s cannot be an index of a tuple", index_text(index, n).c_str());
  int64_t at = index->as.i < 0 ? index->as.i + length : index->as.i;
  if (at < 0 || at >= length)
    return ls__fail(LS_ERROR_INDEX, "[%lld]: index is out of range for %d elements", static_cast<long long>(index->as.i), length);
  *out = at;
  return LS_OK;
}

ls_status sequence_slice(const ls_value* self, const ls_value* slice, ls_value* out) {
  auto* items = ls__seq_items(self);
  auto* keys = ls__seq_keys(self);
  auto start = bound(slice[1]), stop = bound(slice[2]), step = bound(slice[3]);
  int64_t n = ls_seq_length(self), by = step.value_or(1);
  TORCH_CHECK_INDEX(by > 0, "the step of a slice must be 1 or more");
  auto clamp = [n](int64_t i) { return std::min(std::max<int64_t>(i < 0 ? i + n : i, 0), n); };
  int64_t from = clamp(start.value_or(0)), to = clamp(stop.value_or(n));
  int64_t count = to > from ? (to - from + by - 1) / by : 0;
  ls_status status = ls__seq_new(self->kind, static_cast<int32_t>(count), out);
  if (status) return status;
  auto* made = ls__seq_items(out);
  for (int64_t i = 0; i < count; i++) {
    made[i] = items[from + i * by];
    if (keys) ls__seq_keys(out)[i] = ls__text_retain(keys[from + i * by]);
    ls_value_retain(&made[i]);
  }
  return LS_OK;
}

}  // namespace

ls_status ls__index_get(const ls_value* self, const ls_value* index, int32_t n, ls_value* out) {
  if (ls__is_sequence(self->kind)) {
    return guarded("an index", [&] {
      if (n == 4 && index->kind == LS_SLICE) return sequence_slice(self, index, out);
      int64_t at;
      ls_status status = sequence_place(self, index, n, &at);
      return status ? status : ls_seq_get(self, static_cast<int32_t>(at), out);
    });
  }
  if (self->kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "only tensors, tuples and structs can be indexed");
  if (n == 1 && index->kind == LS_STRING) return ls__fail(LS_ERROR_NAME, "a tensor has no field \"%s\"", index->as.s);
  ls_status status = guarded("an index", [&] {
    auto t = borrow(self->as.p);
    if (n == 1 && index->kind == LS_INT) {
      TORCH_CHECK_INDEX(t.dim() > 0, "a tensor without dimensions has no elements; x:item() is its number");
      TORCH_CHECK_INDEX(index->as.i < t.size(0) && index->as.i >= -t.size(0), "index ", index->as.i,
                        " is out of range for dimension 0 with size ", t.size(0));
      *out = new_value(t.select(0, index->as.i));
    } else {
      *out = new_value(t.index(indices_of(index, n)));
    }
    if (self->aux == LS_READ_ONLY && out->kind == LS_TENSOR) out->aux = LS_READ_ONLY;
    return LS_OK;
  });
  return status ? index_failed(index, n, status) : LS_OK;
}

ls_status ls__index_set(const ls_value* self, const ls_value* index, int32_t n, const ls_value* value) {
  if (ls__is_sequence(self->kind))
    return ls__fail(LS_ERROR_ARGUMENT, "a tuple or struct outside of a trace cannot be changed; make a new one");
  if (self->kind != LS_TENSOR) return ls__fail(LS_ERROR_ARGUMENT, "x[...] = v needs a tensor as x");
  if (self->aux == LS_READ_ONLY)
    return ls__fail(LS_ERROR_ARGUMENT, "assigning to %s would change a parameter of the model, or a tensor that the script gave to the trace; clone "
                    "it first",
                    index_text(index, n).c_str());
  if (n == 1 && index->kind == LS_STRING) return ls__fail(LS_ERROR_NAME, "a tensor has no field \"%s\" to set", index->as.s);
  ls_status status = guarded("an index", [&] {
    auto t = borrow(self->as.p);
    auto where = indices_of(index, n);
    switch (value->kind) {
      case LS_BOOL: t.index_put_(where, at::Scalar(value->as.i != 0)); break;
      case LS_INT: t.index_put_(where, at::Scalar(value->as.i)); break;
      case LS_FLOAT: t.index_put_(where, at::Scalar(value->as.f)); break;
      case LS_TENSOR: {
        auto given = borrow(value->as.p);
        // As in PyTorch, a mask or positions select elements of which each gets its own number: a fraction is not cut off in silence.
        if (has_tensor(where) && !c10::canCast(given.scalar_type(), t.scalar_type()))
          return ls__fail(LS_ERROR_ARGUMENT, "%s: numbers of dtype %s cannot be written to a tensor of dtype %s at a mask or positions; "
                          "convert them first, as y:long() does", index_text(index, n).c_str(), dtype_name(given.scalar_type()),
                          dtype_name(t.scalar_type()));
        if (given.scalar_type() != t.scalar_type() || (given.device() != t.device() && given.dim() > 0))
          given = given.to(t.options());
        t.index_put_(where, given);
        break;
      }
      default: return ls__fail(LS_ERROR_ARGUMENT, "only a number or a tensor can be written into a tensor");
    }
    return LS_OK;
  });
  return status ? index_failed(index, n, status) : LS_OK;
}
