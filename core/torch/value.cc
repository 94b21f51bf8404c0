// Converts values of streams of arguments to IValues, the values of libtorch, and back.
#include "torch/value.h"
#include <ATen/ops/scalar_tensor.h>
#include <cstring>

namespace luasight {

using c10::IValue;
using c10::Type;
using c10::TypeKind;

// ---- types -------------------------------------------------------------------------------------------------------------

enum class Want { tensor, number, integer, real, boolean, text, dtype, device, layout, memory_format, list, other };

// The kind of value for an argument of this type. `type` must be the argument's real_type(), since type() says int for a dtype, a
// layout or a memory format.
static Want want_of(const Type& type) {
  switch (type.kind()) {
    case TypeKind::TensorType: return Want::tensor;
    case TypeKind::NumberType: return Want::number;
    case TypeKind::IntType: case TypeKind::SymIntType: return Want::integer;
    case TypeKind::FloatType: return Want::real;
    case TypeKind::BoolType: return Want::boolean;
    case TypeKind::StringType: return Want::text;
    case TypeKind::ScalarTypeType: return Want::dtype;
    case TypeKind::DeviceObjType: return Want::device;
    case TypeKind::LayoutType: return Want::layout;
    case TypeKind::MemoryFormatType: return Want::memory_format;
    case TypeKind::ListType: return Want::list;
    default: return Want::other;
  }
}

static const Type& inside(const Type& type) { return *type.containedTypes()[0]; }

static const struct { const char* name; at::Layout layout; } layouts[] = {
    {"strided", at::kStrided}, {"sparse_coo", at::kSparse}, {"sparse_csr", at::kSparseCsr}};
static const struct { const char* name; at::MemoryFormat format; } formats[] = {
    {"contiguous_format", at::MemoryFormat::Contiguous}, {"preserve_format", at::MemoryFormat::Preserve},
    {"channels_last", at::MemoryFormat::ChannelsLast}, {"channels_last_3d", at::MemoryFormat::ChannelsLast3d}};

template <class Table>
static bool named(const Table& table, const char* name) {
  for (auto& row : table)
    if (!std::strcmp(row.name, name)) return true;
  return false;
}

// ---- fitting -----------------------------------------------------------------------------------------------------------

static bool is_negative_zero(const ls_value& v) { return v.kind == LS_FLOAT && v.as.f == 0; }  // a whole 0 is an LS_INT

enum { FAR = 8 };  // the cost of a number in place of a tensor, or the reverse: so high that other overloads are preferred

static thread_local bool refused_gradient;

bool refused_for_gradient() {
  bool refused = refused_gradient;
  refused_gradient = false;
  return refused;
}

// Whether a tensor cannot become a number since it needs a gradient, which would be lost.
static bool needs_gradient(const ls_value& v) {
  bool needs = v.kind == LS_TENSOR && borrow(v.as.p).requires_grad();
  refused_gradient = refused_gradient || needs;
  return needs;
}

static int fit_kind(Want want, const ls_value& v, int32_t kind) {
  bool is_later = v.kind == LS_NODE;  // the text of a node, as result_type makes one, is the name of a dtype
  switch (want) {
    case Want::tensor: return kind == LS_TENSOR ? 0 : kind == LS_INT || kind == LS_FLOAT || kind == LS_BOOL ? FAR : -1;
    case Want::number:
      return kind == LS_INT || kind == LS_FLOAT ? 0 : kind == LS_BOOL ? 1 : kind == LS_TENSOR && !needs_gradient(v) ? FAR : -1;
    case Want::integer: return kind == LS_INT || is_negative_zero(v) ? 0 : kind == LS_TENSOR && !needs_gradient(v) ? FAR + 1 : -1;
    case Want::real: return kind == LS_FLOAT ? 0 : kind == LS_INT ? 1 : kind == LS_TENSOR && !needs_gradient(v) ? FAR + 1 : -1;
    case Want::boolean: return kind == LS_BOOL ? 0 : -1;
    case Want::text: return kind == LS_STRING ? 0 : -1;
    case Want::dtype: {
      at::ScalarType ignored;
      return kind == LS_STRING && (is_later || find_dtype(v.as.s, &ignored)) ? 0 : -1;
    }
    case Want::device: return kind == LS_STRING ? 1 : -1;
    case Want::layout: return kind == LS_STRING && !is_later && named(layouts, v.as.s) ? 0 : -1;
    case Want::memory_format: return kind == LS_STRING && !is_later && named(formats, v.as.s) ? 0 : -1;
    default: return -1;
  }
}

// The cost of passing `n` values as the items of a list of type `item`; the values are in the stream or in a sequence of the stream.
static int fit_items(const Type& item, const ls_value* s, int32_t n, const uint8_t* kinds) {
  int worst = 0;
  for (int32_t i = 0; i < n;) {
    int32_t end = ls__stream_value(s, i, n);
    int cost = fit(item, {}, s + i, end - i, kinds);
    if (cost < 0) return -1;
    if (cost > worst) worst = cost;
    i = end;
  }
  return worst;
}

static int fit_list(const Type& type, c10::optional<int32_t> size, const ls_value* s, int32_t n, const uint8_t* kinds) {
  const Type& item = inside(type);
  if (s->kind == LS_OPEN) return s->aux == LS_STRUCT ? -1 : fit_items(item, s + 1, n - 1, kinds);
  if (ls__is_sequence(s->kind)) return fit_items(item, ls__seq_items(s), ls_seq_length(s), kinds);
  if (s->kind == LS_NODE && kinds) {
    auto kind = kinds[s->aux];
    if (kind == LS_LIST || kind == LS_TUPLE) return 1;
    if (kind == LS_NONE) return 2;
  }
  if (!size) return -1;
  int cost = fit(item, {}, s, n, kinds);  // a number counts as a list of one number: x:sum(0) means x:sum({0})
  return cost < 0 ? -1 : cost + 2;
}

int fit(const Type& type, c10::optional<int32_t> list_size, const ls_value* s, int32_t n, const uint8_t* kinds) {
  if (type.kind() == TypeKind::OptionalType)
    return s->kind == LS_NONE ? 0 : fit(inside(type), list_size, s, n, kinds);
  Want want = want_of(type);
  if (want == Want::list) return fit_list(type, list_size, s, n, kinds);
  if (n != 1) return -1;
  if (s->kind == LS_NODE) {
    if (!kinds) return -1;
    auto kind = kinds[s->aux];
    if (kind != LS_NONE) return fit_kind(want, *s, kind);
    return want == Want::tensor ? 1 : want == Want::number || want == Want::integer || want == Want::real ? 3 : -1;
  }
  return fit_kind(want, *s, s->kind);
}

// ---- converting --------------------------------------------------------------------------------------------------------

static at::Scalar number_of(const ls_value& v) {
  switch (v.kind) {
    case LS_BOOL: return at::Scalar(v.as.i != 0);
    case LS_INT: return at::Scalar(v.as.i);
    case LS_FLOAT: return at::Scalar(v.as.f);
    default: return borrow(v.as.p).item();
  }
}

// A whole number, such as an axis or a size. A tensor in its place has to hold a whole number; its fraction would be lost.
static int64_t integer_of(const ls_value& v) {
  if (v.kind == LS_INT) return v.as.i;
  if (v.kind == LS_TENSOR) return whole_number(borrow(v.as.p));
  return number_of(v).toLong();
}

static at::Tensor tensor_of(const ls_value& v) {
  if (v.kind == LS_TENSOR) return borrow(v.as.p);
  auto t = at::scalar_tensor(number_of(v), v.kind == LS_INT ? at::kLong : v.kind == LS_BOOL ? at::kBool : at::kDouble);
  t.unsafeGetTensorImpl()->set_wrapped_number(true);
  return t;
}

static IValue convert_one(Want want, const ls_value& v) {
  switch (want) {
    case Want::tensor: return IValue(tensor_of(v));
    case Want::number: return IValue(number_of(v));
    case Want::integer: return IValue(integer_of(v));
    case Want::real: return IValue(v.kind == LS_FLOAT ? v.as.f : number_of(v).toDouble());
    case Want::boolean: return IValue(v.as.i != 0);
    case Want::text: return IValue(std::string(v.as.s));
    case Want::dtype: {
      at::ScalarType type = at::kFloat;
      find_dtype(v.as.s, &type);
      return IValue(type);
    }
    case Want::device: return IValue(at::Device(v.as.s));
    case Want::layout:
      for (auto& row : layouts)
        if (!std::strcmp(row.name, v.as.s)) return IValue(row.layout);
      break;
    case Want::memory_format:
      for (auto& row : formats)
        if (!std::strcmp(row.name, v.as.s)) return IValue(row.format);
      break;
    default: break;
  }
  TORCH_CHECK(false, "an argument of this type cannot be passed from Lua");
}

template <class T, class Make>
static IValue list_of(const ls_value* items, int32_t n, Make make) {
  c10::List<T> list;
  list.reserve(static_cast<size_t>(n));
  for (int32_t i = 0; i < n; i++) list.push_back(make(items[i]));
  return IValue(std::move(list));
}

static IValue convert_items(const Type& item, const ls_value* items, int32_t n) {
  if (item.kind() == TypeKind::OptionalType)  // the list has type Tensor?[]
    return list_of<c10::optional<at::Tensor>>(items, n, [](const ls_value& v) {
      // plain() writes the numbers of a lazy tensor (see is_lazy) to memory, since libtorch does not do so in a list of type Tensor?[].
      return v.kind == LS_NONE ? c10::optional<at::Tensor>() : c10::optional<at::Tensor>(plain(tensor_of(v)));
    });
  switch (want_of(item)) {
    case Want::tensor: return list_of<at::Tensor>(items, n, tensor_of);
    case Want::integer:
      return list_of<int64_t>(items, n, integer_of);
    case Want::real: return list_of<double>(items, n, [](const ls_value& v) { return number_of(v).toDouble(); });
    case Want::boolean: return list_of<bool>(items, n, [](const ls_value& v) { return v.as.i != 0; });
    case Want::number: {
      c10::impl::GenericList list(c10::NumberType::get());
      for (int32_t i = 0; i < n; i++) list.push_back(IValue(number_of(items[i])));
      return IValue(list);
    }
    default: TORCH_CHECK(false, "a list of this type cannot be passed from Lua");
  }
}

IValue convert(const Type& type, c10::optional<int32_t> list_size, const ls_value* s, int32_t n) {
  if (type.kind() == TypeKind::OptionalType) return s->kind == LS_NONE ? IValue() : convert(inside(type), list_size, s, n);
  Want want = want_of(type);
  if (want != Want::list) return convert_one(want, *s);
  const Type& item = inside(type);
  if (s->kind == LS_OPEN) return convert_items(item, s + 1, n - 1);
  if (ls__is_sequence(s->kind)) return convert_items(item, ls__seq_items(s), ls_seq_length(s));
  std::vector<ls_value> copies(static_cast<size_t>(list_size.value_or(1)), *s);
  return convert_items(item, copies.data(), static_cast<int32_t>(copies.size()));
}

// ---- results -----------------------------------------------------------------------------------------------------------

template <class List, class Each>
static ls_value sequence(int32_t kind, const List& list, Each each) {
  ls_value v;
  if (ls__seq_new(kind, static_cast<int32_t>(list.size()), &v)) throw std::bad_alloc();
  auto* items = ls__seq_items(&v);
  for (size_t i = 0; i < list.size(); i++) items[i] = each(i);
  return v;
}

static ls_value integer(int64_t i) {
  ls_value v{};
  v.kind = LS_INT;
  v.as.i = i;
  return v;
}

ls_value from_ivalue(IValue&& v) {
  ls_value out{};
  if (v.isTensor()) return new_value(std::move(v).toTensor());
  if (v.isNone()) return out;
  if (v.isInt()) return integer(v.toInt());
  if (v.isSymInt()) return integer(v.toInt());
  if (v.isBool()) {
    out.kind = LS_BOOL;
    out.as.i = v.toBool();
    return out;
  }
  if (v.isDouble()) {
    out.kind = LS_FLOAT;
    out.as.f = ls__number(v.toDouble());
    return out;
  }
  if (v.isString()) {
    out.kind = LS_STRING;
    out.as.s = ls__intern(v.toStringRef().c_str());
    if (!out.as.s) throw std::bad_alloc();
    return out;
  }
  if (v.isTensorList()) {
    auto list = v.toTensorVector();
    return sequence(LS_TUPLE, list, [&](size_t i) { return new_value(list[i]); });
  }
  if (v.isIntList()) {
    auto list = v.toIntVector();
    return sequence(LS_LIST, list, [&](size_t i) { return integer(list[i]); });
  }
  if (v.isTuple()) {
    auto list = v.toTupleRef().elements().vec();
    return sequence(LS_TUPLE, list, [&](size_t i) { return from_ivalue(IValue(list[i])); });
  }
  if (v.isList()) {
    auto list = v.toListRef();
    return sequence(LS_TUPLE, list, [&](size_t i) { return from_ivalue(IValue(list[i])); });
  }
  TORCH_CHECK(false, "the result is of a kind that Lua cannot hold: ", v.tagKind());
}

uint8_t kind_of(const Type& type) {
  switch (type.kind()) {
    case TypeKind::TensorType: return LS_TENSOR;
    case TypeKind::IntType: case TypeKind::SymIntType: return LS_INT;
    case TypeKind::FloatType: return LS_FLOAT;
    case TypeKind::BoolType: return LS_BOOL;
    case TypeKind::ScalarTypeType: return LS_STRING;  // take_results in call.cc makes a text of it
    case TypeKind::ListType: return inside(type).kind() == TypeKind::TensorType ? LS_TUPLE : LS_LIST;
    default: return LS_NONE;
  }
}

}  // namespace luasight
