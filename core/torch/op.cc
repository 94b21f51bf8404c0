// Operators by name: all overloads that libtorch has registered, the best one for the arguments of a call, and calls that
// are prepared once and run many times. Every operator goes through the dispatcher, boxed.
#include <ATen/DimVector.h>
#include <ATen/ops/zeros.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <algorithm>
#include <map>
#include <cstring>
#include <memory>
#include <unordered_map>
#include "torch/product.h"
#include "torch/value.h"
#include "torch/written.h"

using namespace luasight;
using c10::FunctionSchema;
using c10::IValue;
using c10::OperatorHandle;

struct ls_op {
  std::string name;  // without "aten::"
  std::vector<OperatorHandle> overloads;
  std::vector<Written> written;  // by overload
  bool addresses;                // see goes_by_places
  bool views;                    // see gives_undeclared_views
};

// ---- names -------------------------------------------------------------------------------------------------------------

namespace {

using Names = std::map<std::string, std::vector<std::string>>;  // full name -> names of its overloads

const Names& registered() {
  static const Names names = [] {
    Names all;
    for (auto& op : c10::Dispatcher::singleton().getAllOpNames()) all[op.name].push_back(op.overload_name);
    for (auto& entry : all) std::sort(entry.second.begin(), entry.second.end());
    return all;
  }();
  return names;
}

// Operators that take or give what Lua does not have, or that exist for libtorch itself.
bool is_public(const std::string& name) { return name.compare(0, 6, "aten::") == 0; }

std::string full_name(const char* name) {
  return std::strstr(name, "::") ? name : "aten::" + std::string(name);
}

std::string short_name(const std::string& full) { return is_public(full) ? full.substr(6) : full; }

std::unordered_map<std::string, std::unique_ptr<ls_op>>& known() {
  static auto* all = new std::unordered_map<std::string, std::unique_ptr<ls_op>>;
  return *all;
}

ls_status unknown_name(const char* name) {
  std::vector<std::string> names;
  for (auto& entry : registered())
    if (is_public(entry.first)) names.push_back(short_name(entry.first));
  std::vector<const char*> list;
  for (auto& n : names) list.push_back(n.c_str());
  return ls__fail(LS_ERROR_NAME, "there is no operator \"%s\"%s", name, ls__near(name, list.data(), list.size()));
}

}  // namespace

ls_status ls_op_find(const char* name, const ls_op** out) {
  LS__NEED(name && out);
  if (ls_status status = need_start()) return status;
  return guarded("looking for an operator", [&] {
    auto full = full_name(name);
    auto& cell = known()[full];
    if (!cell) {
      auto found = registered().find(full);
      if (found == registered().end()) {
        known().erase(full);
        return unknown_name(name);
      }
      cell = std::make_unique<ls_op>();
      cell->name = short_name(full);
      for (auto& overload : found->second) {
        auto handle = c10::Dispatcher::singleton().findSchema({full, overload});
        if (handle) cell->overloads.push_back(*handle);
      }
      cell->addresses = goes_by_places(cell->name);
      cell->views = gives_undeclared_views(cell->name);
      for (auto& handle : cell->overloads) cell->written.push_back(written_by_schema(cell->name, handle.schema()));
    }
    *out = cell.get();
    return LS_OK;
  });
}

const char* ls__op_name(const ls_op* op) { return op->name.c_str(); }

int32_t ls__op_arguments(const ls_op* op) {
  size_t most = 0;
  for (auto& handle : op->overloads) most = std::max(most, handle.schema().arguments().size());
  return static_cast<int32_t>(most);
}

const char* ls_op_names(const char* prefix) {
  static thread_local std::string text;
  if (!prefix) return "";
  ls_status status = guarded("names of operators", [&] {
    text.clear();
    for (auto& entry : registered()) {
      auto name = short_name(entry.first);
      if (!name.compare(0, std::strlen(prefix), prefix)) text += name + "\n";
    }
    return LS_OK;
  });
  return status ? "" : text.c_str();
}

const char* ls_op_schemas(const ls_op* op) {
  static thread_local std::string text;
  if (!op) return "";
  ls_status status = guarded("the schemas of an operator", [&] {
    text.clear();
    for (auto& handle : op->overloads) text += c10::toString(handle.schema()) + "\n";
    return LS_OK;
  });
  return status ? "" : text.c_str();
}

// ---- choosing an overload ----------------------------------------------------------------------------------------------

namespace {

struct Given {  // one argument in the stream
  const ls_value* at = nullptr;
  int32_t n = 0;
};

enum { MOST_ARGUMENTS = 32 };

struct Call {  // the arguments of a stream by their place in a schema
  Given given[MOST_ARGUMENTS];
};

// Which argument of the schema is called `key`; -1 where none is. Python says "input" for many a "self".
int find_argument(const FunctionSchema& schema, const char* key) {
  auto& arguments = schema.arguments();
  for (size_t i = 0; i < arguments.size(); i++)
    if (arguments[i].name() == key) return static_cast<int>(i);
  if (!std::strcmp(key, "input")) return find_argument(schema, "self");
  if (!std::strcmp(key, "axis")) return find_argument(schema, "dim");
  if (!std::strcmp(key, "keepdims")) return find_argument(schema, "keepdim");
  return -1;
}

// Whether an argument may be left out: it has a default, or its type has a "none" that stands for it.
bool is_optional(const c10::Argument& argument) {
  return argument.default_value() || argument.type()->kind() == c10::TypeKind::OptionalType;
}

// The cost of calling `schema` with a stream, -1 where it does not fit.
int match(const FunctionSchema& schema, const ls_value* s, int32_t n, const uint8_t* kinds, Call* out) {
  auto& arguments = schema.arguments();
  if (arguments.size() > MOST_ARGUMENTS) return -1;
  size_t position = 0;
  for (size_t i = 0; i < arguments.size(); i++) out->given[i] = Given();
  for (int32_t i = 0; i < n;) {
    int place;
    if (s[i].kind == LS_KEY) {
      place = find_argument(schema, s[i].as.s);
      if (place < 0 || out->given[place].at) return -1;
      i++;
    } else {
      if (position >= arguments.size() || arguments[position].kwarg_only()) return -1;
      place = static_cast<int>(position++);
    }
    int32_t end = ls__stream_value(s, i, n);
    out->given[place] = {s + i, end - i};
    i = end;
  }
  int cost = 0;
  for (size_t i = 0; i < arguments.size(); i++) {
    auto& argument = arguments[i];
    auto& given = out->given[i];
    if (given.at && given.at->kind == LS_NONE && argument.default_value()) given = Given();
    if (!given.at) {
      if (!is_optional(argument)) return -1;
      cost += argument.default_value() ? 1 : 8;
      continue;
    }
    int one = fit(*argument.real_type(), argument.N(), given.at, given.n, kinds);
    if (one < 0) return -1;
    cost += 16 * one;
  }
  return cost;
}

const OperatorHandle* choose(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds, Call* out) {
  const OperatorHandle* best = nullptr;
  int least = -1;
  Call trial;
  for (auto& handle : op->overloads) {
    int cost = match(handle.schema(), s, n, kinds, &trial);
    if (cost < 0 || (best && cost >= least)) continue;
    best = &handle;
    least = cost;
    *out = trial;
  }
  return best;
}

// ---- calls that fit nothing --------------------------------------------------------------------------------------------

std::string describe(const ls_value* s, int32_t n, const uint8_t* kinds) {
  static const char* words[] = {"nil", "boolean", "integer", "number", "string", "tensor", "tuple", "list", "struct", "proxy"};
  std::string text;
  for (int32_t i = 0; i < n;) {
    if (!text.empty()) text += ", ";
    if (s[i].kind == LS_KEY) text += std::string(s[i++].as.s) + " = ";
    int32_t kind = s[i].kind;
    if (kind == LS_NODE && kinds && kinds[s[i].aux]) kind = kinds[s[i].aux];
    text += kind == LS_OPEN ? "list" : kind <= LS_NODE ? words[kind] : "index";
    i = ls__stream_value(s, i, n);
  }
  return text;
}

std::string signature(const FunctionSchema& schema) {
  std::string text;
  bool star = false;
  for (auto& argument : schema.arguments()) {
    if (!text.empty()) text += ", ";
    if (argument.kwarg_only() && !star) {
      star = true;
      text += "*, ";
    }
    text += argument.name();
    if (is_optional(argument)) text += "?";
  }
  return "(" + text + ")";
}

ls_status no_fit(const ls_op* op, const ls_value* s, int32_t n, const uint8_t* kinds) {
  std::vector<std::string> names;
  for (auto& handle : op->overloads)
    for (auto& argument : handle.schema().arguments()) names.push_back(argument.name());
  for (int32_t i = 0; i < n; i++) {
    if (s[i].kind != LS_KEY) continue;
    bool exists = false;
    for (auto& handle : op->overloads) exists = exists || find_argument(handle.schema(), s[i].as.s) >= 0;
    if (exists) continue;
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    std::vector<const char*> list;
    for (auto& name : names) list.push_back(name.c_str());
    return ls__fail(LS_ERROR_ARGUMENT, "%s has no argument \"%s\"%s", op->name.c_str(), s[i].as.s,
                    ls__near(s[i].as.s, list.data(), list.size()));
  }
  for (int32_t i = 0; i < n; i++)  // a name that fits no dtype is the likeliest cause
    if (s[i].kind == LS_STRING && i && s[i - 1].kind == LS_KEY) {
      at::ScalarType ignored;
      if (!std::strcmp(s[i - 1].as.s, "dtype") && !find_dtype(s[i].as.s, &ignored)) return read_dtype(s[i].as.s, &ignored);
    }
  std::string forms;
  size_t shown = 0;
  for (auto& handle : op->overloads) {
    if (find_argument(handle.schema(), "out") >= 0 && op->overloads.size() > 1) continue;
    if (shown++ == 3) break;
    forms += (forms.empty() ? "" : " or ") + signature(handle.schema());
  }
  auto given = describe(s, n, kinds);
  const char* next = given.find("tuple") != std::string::npos    ? "; the first element of a tuple is x[0]"
                     : given.find("struct") != std::string::npos ? "; take a field of the struct"
                                                                 : "";
  return ls__fail(LS_ERROR_ARGUMENT, "%s cannot be called with (%s); it takes %s%s", op->name.c_str(), given.c_str(),
                  forms.c_str(), next);
}

}  // namespace

int32_t ls__op_argument(const ls_op* op, const char* name) {
  int32_t kind = LS__ARGUMENT_NONE;
  for (size_t i = 0; i < op->overloads.size(); i++) {
    int place = find_argument(op->overloads[i].schema(), name);
    if (place < 0) continue;
    if (place == 0 || !(op->written[i].declared >> place & 1)) return LS__ARGUMENT_TAKEN;
    kind = LS__ARGUMENT_WRITTEN;
  }
  return kind;
}

namespace {

// ---- calling -----------------------------------------------------------------------------------------------------------

IValue argument_of(const c10::Argument& argument, const Given& given) {
  if (!given.at) return argument.default_value() ? *argument.default_value() : IValue();
  return convert(*argument.real_type(), argument.N(), given.at, given.n);
}

// The arguments that this call changes in place, a bit for each.
uint32_t written_by(const ls_op* op, const OperatorHandle* handle, const Call& call) {
  auto& written = op->written[static_cast<size_t>(handle - op->overloads.data())];
  if (written.unless < 0) return written.declared | written.undeclared;
  auto& argument = handle->schema().arguments()[static_cast<size_t>(written.unless)];
  auto* given = call.given[written.unless].at;
  bool off = given ? given->kind == LS_BOOL && !given->as.i : argument.default_value() && !argument.default_value()->toBool();
  return off ? written.declared : written.declared | written.undeclared;
}

// Calls `each` with the tensors among `n` values, those in lists and sequences too.
template <class Each>
void each_tensor(const ls_value* s, int32_t n, Each each) {
  for (int32_t i = 0; i < n; i++) {
    if (s[i].kind == LS_TENSOR) {
      each(s[i]);
    } else if (ls__is_sequence(s[i].kind)) {
      each_tensor(ls__seq_items(&s[i]), ls_seq_length(&s[i]), each);
    }
  }
}

struct ReadOnly {
  bool changed = false;        // one is written to
  std::vector<void*> tensors;  // all that are given
};

ReadOnly look_for_read_only(const ls_op* op, const OperatorHandle* handle, const Call& call) {
  ReadOnly found;
  size_t count = handle->schema().arguments().size();
  uint32_t written = 0;
  for (size_t i = 0; i < count; i++) {
    auto& given = call.given[i];
    if (!given.at) continue;
    each_tensor(given.at, given.n, [&](const ls_value& v) {
      if (v.aux != LS_READ_ONLY) return;
      if (found.tensors.empty()) written = written_by(op, handle, call);
      found.tensors.push_back(v.as.p);
      found.changed = found.changed || (written >> i & 1);
    });
  }
  return found;
}

// What lies in the memory of a read-only argument, in whichever way it was obtained, is read-only too.
void mark_read_only(const ReadOnly& given, ls_value* v) {
  if (v->kind == LS_TUPLE || v->kind == LS_LIST) {
    for (int32_t i = 0; i < ls_seq_length(v); i++) mark_read_only(given, &ls__seq_items(v)[i]);
  }
  if (v->kind != LS_TENSOR) return;
  for (auto* tensor : given.tensors)
    if (ls__tensor_shares(tensor, v->as.p)) v->aux = LS_READ_ONLY;
}

void take_results(torch::jit::Stack* stack, ls_value* out, int32_t room, int32_t* n_out) {
  TORCH_CHECK(stack->size() <= static_cast<size_t>(room), "too many results");
  int32_t n = 0;
  try {
    for (auto& v : *stack) {
      out[n] = from_ivalue(std::move(v));
      n++;
    }
  } catch (...) {
    while (n-- > 0) ls_value_release(&out[n]);
    throw;
  }
  *n_out = n;
}

}  // namespace

// ---- shapes only -------------------------------------------------------------------------------------------------------

static thread_local bool scanning;

void ls__scan_enter(bool on) { scanning = on; }

namespace {

// A tensor of the same shape with numbers, which takes no memory where nobody writes to it.
at::Tensor stand_in(const at::Tensor& t, bool written) {
  if (!t.defined() || !t.is_meta()) return t;
  auto options = t.options().device(at::kCPU);
  return written ? at::zeros(t.sizes(), options) : at::zeros({}, options).expand(t.sizes());
}

// Operators whose shapes libtorch cannot tell without numbers run on zeros; what comes out keeps its shape only.
void call_with_stand_ins(const OperatorHandle& handle, torch::jit::Stack* stack) {
  auto& arguments = handle.schema().arguments();
  for (size_t i = 0; i < stack->size() && i < arguments.size(); i++) {
    auto& v = (*stack)[i];
    bool written = arguments[i].alias_info() && arguments[i].alias_info()->isWrite();
    if (v.isTensor()) v = stand_in(v.toTensor(), written);
    else if (v.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : v.toTensorVector()) list.push_back(stand_in(t, written));
      v = std::move(list);
    }
  }
  handle.callBoxed(stack);
  for (auto& v : *stack)
    if (v.isTensor() && v.toTensor().defined()) v = v.toTensor().to(at::kMeta);
}

bool writes(const FunctionSchema& schema) {
  for (auto& argument : schema.arguments())
    if (argument.alias_info() && argument.alias_info()->isWrite()) return true;
  return false;
}

// Libtorch gives a tensor that is written to (x:resize_(...), { out = x }) its new shape before it has the memory for it.
// Where the operator fails, `put_back` undoes that: no tensor is left larger than its memory.
class Shapes {
 public:
  Shapes(const FunctionSchema& schema, const torch::jit::Stack& stack) {
    auto& arguments = schema.arguments();
    for (size_t i = 0; i < arguments.size(); i++) {
      if (!arguments[i].alias_info() || !arguments[i].alias_info()->isWrite()) continue;
      if (stack[i].isTensor()) keep(stack[i].toTensor());
      else if (stack[i].isTensorList())
        for (const at::Tensor& t : stack[i].toTensorVector()) keep(t);
    }
  }

  void put_back() const {
    for (auto& shape : shapes) {
      auto* t = shape.tensor.unsafeGetTensorImpl();
      if (t->sizes() == shape.sizes && t->strides() == shape.strides && t->storage_offset() == shape.offset &&
          t->storage().unsafeGetStorageImpl() == shape.storage.unsafeGetStorageImpl())
        continue;
      t->set_storage_keep_dtype(shape.storage);
      t->set_sizes_and_strides(shape.sizes, shape.strides, shape.offset);
    }
  }

 private:
  struct Shape {
    at::Tensor tensor;
    c10::Storage storage;
    at::DimVector sizes, strides;
    int64_t offset;
  };
  c10::SmallVector<Shape, 1> shapes;

  void keep(const at::Tensor& t) {
    if (t.defined() && t.layout() == at::kStrided && t.has_storage())
      shapes.push_back({t, t.storage(), at::DimVector(t.sizes()), at::DimVector(t.strides()), t.storage_offset()});
  }
};

void call_or_stand_in(const OperatorHandle& handle, torch::jit::Stack* stack) {
  if (!scanning) return handle.callBoxed(stack);
  torch::jit::Stack again(*stack);
  try {
    handle.callBoxed(stack);
  } catch (const c10::NotImplementedError&) {
    *stack = std::move(again);
    call_with_stand_ins(handle, stack);
  }
}

void call_boxed(const OperatorHandle& handle, Product product, bool is_writing, torch::jit::Stack* stack) {
  if (product != Product::none && multiply(product, stack)) return;
  if (!is_writing) return call_or_stand_in(handle, stack);
  Shapes before(handle.schema(), *stack);
  try {
    call_or_stand_in(handle, stack);
  } catch (...) {
    before.put_back();
    throw;
  }
}

}  // namespace

ls_status ls__op_run(const ls_op* op, const ls_value* args, int32_t n, ls_value* out, int32_t* n_out) {
  Call call;
  const OperatorHandle* handle = nullptr;
  ls_status status = guarded(op->name.c_str(), [&] {
    handle = choose(op, args, n, nullptr, &call);
    if (!handle) return no_fit(op, args, n, nullptr);
    auto& arguments = handle->schema().arguments();
    auto read_only = look_for_read_only(op, handle, call);
    if (read_only.changed)
      return ls__fail(LS_ERROR_ARGUMENT, "%s would change a parameter of the model; clone it first", op->name.c_str());
    torch::jit::Stack stack;
    stack.reserve(arguments.size());
    for (size_t i = 0; i < arguments.size(); i++) stack.push_back(argument_of(arguments[i], call.given[i]));
    call_boxed(*handle, product_of(*handle), writes(handle->schema()), &stack);
    take_results(&stack, out, LS_RESULTS, n_out);
    for (int32_t i = 0; !read_only.tensors.empty() && i < *n_out; i++) mark_read_only(read_only, &out[i]);
    return LS_OK;
  });
  if (status == LS_ERROR_MEMORY && handle && !written_by(op, handle, call)) ls__fail_again();
  return status;
}

// ---- prepared calls ----------------------------------------------------------------------------------------------------

namespace {

struct Slot {  // an argument that holds nodes
  int32_t argument;
  int32_t node;    // the argument is this node alone, -1: nodes inside a list
  uint8_t kind;    // expected of the node's value
  int32_t at, n;   // its part of the stream
};

}  // namespace

struct ls__call {
  const ls_op* op;
  const OperatorHandle* handle;
  Product product;
  bool is_writing;
  std::vector<IValue> arguments;  // constants converted, the slots empty
  std::vector<Slot> slots;
  std::vector<ls_value> stream;   // borrowed from the node, which keeps it
  std::vector<int32_t> written;   // nodes whose values it changes in place
  bool changes_own;               // it changes a tensor that is no node
  int32_t results;
};

static bool has_node(const Given& given) {
  for (int32_t i = 0; i < given.n; i++)
    if (given.at[i].kind == LS_NODE) return true;
  return false;
}

// Notes what the call changes in place.
static void note_written(ls__call* call, const Call& chosen) {
  uint32_t written = written_by(call->op, call->handle, chosen);
  call->changes_own = false;
  for (size_t i = 0; written >> i; i++) {
    auto& given = chosen.given[i];
    if (!(written >> i & 1) || !given.at) continue;
    each_tensor(given.at, given.n, [&](const ls_value&) { call->changes_own = true; });
    for (int32_t k = 0; k < given.n; k++) {
      if (given.at[k].kind != LS_NODE) continue;
      auto& nodes = call->written;
      if (std::find(nodes.begin(), nodes.end(), given.at[k].aux) == nodes.end()) nodes.push_back(given.at[k].aux);
    }
  }
}

ls_status ls__call_prepare(const ls_op* op, const ls_value* args, int32_t n, const uint8_t* kinds, ls__call** out) {
  return guarded(op->name.c_str(), [&] {
    Call chosen;
    auto* handle = choose(op, args, n, kinds, &chosen);
    if (!handle) return no_fit(op, args, n, kinds);
    auto call = std::make_unique<ls__call>();
    call->op = op;
    call->handle = handle;
    call->product = product_of(*handle);
    call->is_writing = writes(handle->schema());
    call->stream.assign(args, args + n);
    call->results = static_cast<int32_t>(handle->schema().returns().size());
    auto& arguments = handle->schema().arguments();
    call->arguments.reserve(arguments.size());
    for (size_t i = 0; i < arguments.size(); i++) {
      auto& given = chosen.given[i];
      if (!given.at || !has_node(given)) {
        call->arguments.push_back(argument_of(arguments[i], given));
        continue;
      }
      call->arguments.emplace_back();
      bool alone = given.n == 1;
      call->slots.push_back({static_cast<int32_t>(i), alone ? given.at->aux : -1,
                             alone ? kinds[given.at->aux] : static_cast<uint8_t>(LS_NONE),
                             static_cast<int32_t>(given.at - args), given.n});
    }
    note_written(call.get(), chosen);
    *out = call.release();
    return LS_OK;
  });
}

void ls__call_free(ls__call* call) { delete call; }
int32_t ls__call_results(const ls__call* call) { return call->results; }
uint8_t ls__call_kind(const ls__call* call, int32_t result) {
  return kind_of(*call->handle->schema().returns()[static_cast<size_t>(result)].type());
}

static void substitute(const ls__call* call, const Slot& slot, const ls_value* values, std::vector<ls_value>* out) {
  for (int32_t i = slot.at; i < slot.at + slot.n; i++)
    out->push_back(call->stream[i].kind == LS_NODE ? values[call->stream[i].aux] : call->stream[i]);
}

// Fills the slots; false where a value is of another kind than was expected and another overload has to be looked for.
static bool fill(const ls__call* call, const ls_value* values, torch::jit::Stack* stack) {
  auto& arguments = call->handle->schema().arguments();
  for (auto& slot : call->slots) {
    auto& place = (*stack)[static_cast<size_t>(slot.argument)];
    auto& argument = arguments[static_cast<size_t>(slot.argument)];
    if (slot.node >= 0) {
      auto& v = values[slot.node];
      if (v.kind == LS_TENSOR && argument.type()->kind() == c10::TypeKind::TensorType) {
        place = IValue(borrow(v.as.p));
        continue;
      }
      if (fit(*argument.real_type(), argument.N(), &v, 1, nullptr) < 0) return false;
      place = convert(*argument.real_type(), argument.N(), &v, 1);
      continue;
    }
    std::vector<ls_value> part;
    substitute(call, slot, values, &part);
    if (fit(*argument.real_type(), argument.N(), part.data(), slot.n, nullptr) < 0) return false;
    place = convert(*argument.real_type(), argument.N(), part.data(), slot.n);
  }
  return true;
}

static ls_status run_again(const ls__call* call, const ls_value* values, ls_value* out, int32_t* n) {
  std::vector<ls_value> s = call->stream;
  for (auto& v : s)
    if (v.kind == LS_NODE) v = values[v.aux];
  return ls__op_run(call->op, s.data(), static_cast<int32_t>(s.size()), out, n);
}

ls_status ls__call_run(ls__call* call, const ls_value* values, ls_value* out) {
  return guarded(call->op->name.c_str(), [&] {
    ls_value results[LS_RESULTS];
    int32_t n = 0;
    torch::jit::Stack stack(call->arguments);
    if (fill(call, values, &stack)) {
      call_boxed(*call->handle, call->product, call->is_writing, &stack);
      take_results(&stack, results, LS_RESULTS, &n);
    } else {
      ls_status status = run_again(call, values, results, &n);
      if (status) return status;
    }
    if (n == 1) {
      *out = results[0];
      return LS_OK;
    }
    if (!n) {
      *out = ls_value{};
      return LS_OK;
    }
    ls_status status = ls__seq_new(LS_TUPLE, n, out);
    for (int32_t i = 0; i < n; i++) {
      if (status) ls_value_release(&results[i]);
      else ls__seq_items(out)[i] = results[i];
    }
    return status;
  });
}

// ---- what a call does to its arguments ---------------------------------------------------------------------------------

// The node that is argument `i`, -1 where it is none.
static int32_t node_of(const ls__call* call, size_t i) {
  for (auto& slot : call->slots)
    if (slot.argument == static_cast<int32_t>(i)) {
      if (slot.node >= 0) return slot.node;
      for (int32_t k = slot.at; k < slot.at + slot.n; k++)
        if (call->stream[static_cast<size_t>(k)].kind == LS_NODE) return call->stream[static_cast<size_t>(k)].aux;
    }
  return -1;
}

int32_t ls__call_written(const ls__call* call, int32_t k) {
  auto place = static_cast<size_t>(k);
  return place < call->written.size() ? call->written[place] : -1;
}

bool ls__call_changes_own(const ls__call* call) { return call->changes_own; }

bool ls__op_addresses(const ls_op* op) { return op->addresses; }
bool ls__call_writes_others(const ls__call* call) {
  return call->op->written[static_cast<size_t>(call->handle - call->op->overloads.data())].declared > 1;
}

int32_t ls__call_view_of(const ls__call* call) {
  bool shares = false;
  for (auto& result : call->handle->schema().returns()) {
    auto* alias = result.alias_info();
    shares = shares || (alias && (!alias->beforeSets().empty() || !alias->containedTypes().empty()));
  }
  if (!shares) return call->op->views ? node_of(call, 0) : -1;
  auto& arguments = call->handle->schema().arguments();
  for (size_t i = 0; i < arguments.size(); i++)
    if (arguments[i].alias_info()) return node_of(call, i);
  return -1;
}
