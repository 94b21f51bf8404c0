// Calls operators: once with values, or prepared and then many times. Which arguments a call may change is known before it runs.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include "torch/boxed.h"
#include "torch/overload.h"
#include "torch/value.h"

using namespace luasight;
using c10::IValue;
using c10::OperatorHandle;

namespace {

IValue argument_of(const c10::Argument& argument, const Given& given) {
  if (!given.at) return argument.default_value() ? *argument.default_value() : IValue();
  return convert(*argument.real_type(), argument.N(), given.at, given.n);
}

// The arguments that a call may change in place: bit i is set for argument i of the schema.
uint32_t written_by(const ls_op* op, const OperatorHandle* handle, const Matched& call) {
  auto& written = op->written[static_cast<size_t>(handle - op->overloads.data())];
  if (written.unless < 0) return written.declared | written.undeclared;
  auto& argument = handle->schema().arguments()[static_cast<size_t>(written.unless)];
  auto* given = call.given[written.unless].at;
  bool off = given ? given->kind == LS_BOOL && !given->as.i : argument.default_value() && !argument.default_value()->toBool();
  return off ? written.declared : written.declared | written.undeclared;
}

// Calls `each` with every tensor among the `n` values at `s`, and with those inside lists and other sequences.
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
  bool changed = false;        // whether the call changes one of `tensors`
  std::vector<void*> tensors;  // all read-only tensors (parameters) among the arguments of a call
};

ReadOnly look_for_read_only(const ls_op* op, const OperatorHandle* handle, const Matched& call) {
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

// Marks a result of a call as read-only where it lies in the memory of a read-only argument, as a view does.
void mark_read_only(const ReadOnly& given, ls_value* v) {
  if (v->kind == LS_TUPLE || v->kind == LS_LIST) {
    for (int32_t i = 0; i < ls_seq_length(v); i++) mark_read_only(given, &ls__seq_items(v)[i]);
  }
  if (v->kind != LS_TENSOR) return;
  for (auto* tensor : given.tensors)
    if (ls__tensor_shares(tensor, v->as.p)) v->aux = LS_READ_ONLY;
}

// Lua has one kind of zero for whole numbers and fractions, but its -0.0 comes as an LS_FLOAT, so that a division by it gives -inf. Among
// tensors of whole numbers alone it is a 0 like any other: it may not turn them into fractions.
bool has_negative_zero(const ls_value* s, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    if (s[i].kind == LS_FLOAT && s[i].as.f == 0) return true;
  return false;
}

std::vector<ls_value> with_plain_zeros(const ls_value* s, int32_t n) {
  std::vector<ls_value> copy(s, s + n);
  bool keeps = false;
  each_tensor(s, n, [&](const ls_value& v) {
    auto type = borrow(v.as.p).scalar_type();
    keeps = keeps || at::isFloatingType(type) || at::isComplexType(type);
  });
  for (int32_t i = 0; i < n; i++) keeps = keeps || (s[i].kind == LS_KEY && !std::strcmp(s[i].as.s, "dtype"));
  for (auto& v : copy)
    if (!keeps && v.kind == LS_FLOAT && v.as.f == 0) v = {LS_INT, 0, {0}};
  return copy;
}

// Whether a call may cut a number: one beside a tensor takes the tensor's dtype where both are whole, and libtorch drops bits too many.
bool may_cut(const ls_op* op, const OperatorHandle* handle, const Matched& call) {
  bool rounds = handle->schema().arguments().size() > 2 && call.given[2].at && call.given[2].at->kind == LS_STRING;
  return op->cuts && (rounds || op->name.compare(0, 3, "div") != 0);
}

// Refuses a number that the dtype of the tensor beside it cannot hold; accepts two arguments of other kinds.
ls_status check_whole(const ls_op* op, const ls_value& v, const ls_value& beside) {
  if (v.kind != LS_INT || beside.kind != LS_TENSOR || (v.as.i <= 127 && v.as.i >= 0)) return LS_OK;
  int64_t number = v.as.i;
  const char* name = dtype_name(borrow(beside.as.p).scalar_type());
  bool is_signed = !std::strncmp(name, "int", 3);
  if (!is_signed && std::strncmp(name, "uint", 4) != 0) return LS_OK;
  int bits = std::atoi(name + (is_signed ? 3 : 4));
  bool compares = number < 0 && compares_numbers(op->name);
  if (bits >= 64 && (is_signed || !compares)) return LS_OK;
  int64_t end = bits < 64 ? int64_t{1} << (is_signed ? bits - 1 : bits) : INT64_MAX, begin = is_signed ? -end : compares ? 0 : 1 - end;
  if (number >= begin && number < end) return LS_OK;
  return ls__fail(LS_ERROR_ARGUMENT, "%s: the number %lld does not fit into %s, the dtype of the tensor beside it; convert the tensor, as "
                  "x:long() or x:double() do", op->name.c_str(), static_cast<long long>(number), name);
}

ls_value text_value(const char* text) {
  ls_value v{};
  v.kind = LS_STRING;
  v.as.s = ls__intern(text);
  if (!v.as.s) throw std::bad_alloc();
  return v;
}

// Converts the results of a call. A dtype, as result_type returns one, is a number for libtorch and a text for luasight.
void take_results(const OperatorHandle& handle, torch::jit::Stack* stack, ls_value* out, int32_t room, int32_t* n_out) {
  auto& returns = handle.schema().returns();
  TORCH_CHECK(stack->size() <= static_cast<size_t>(room), "the operator returns more results than Lua takes");
  int32_t n = 0;
  try {
    for (auto& v : *stack) {
      auto place = static_cast<size_t>(n);
      out[n] = from_ivalue(std::move(v));
      if (out[n].kind == LS_INT && place < returns.size() && returns[place].real_type()->kind() == c10::TypeKind::ScalarTypeType)
        out[n] = text_value(dtype_name(static_cast<at::ScalarType>(out[n].as.i)));
      n++;
    }
  } catch (...) {
    while (n-- > 0) ls_value_release(&out[n]);
    throw;
  }
  *n_out = n;
}

}  // namespace

ls_status ls__op_run(const ls_op* op, const ls_value* args, int32_t n, ls_value* out, int32_t* n_out) {
  Matched call;
  const OperatorHandle* handle = nullptr;
  std::vector<ls_value> plain_zeros;
  ls_status status = guarded(op->name.c_str(), [&] {
    if (has_negative_zero(args, n)) {
      plain_zeros = with_plain_zeros(args, n);
      args = plain_zeros.data();
    }
    handle = choose(op, args, n, nullptr, &call);
    if (!handle) return no_fit(op, args, n, nullptr);
    auto& arguments = handle->schema().arguments();
    auto read_only = look_for_read_only(op, handle, call);
    if (read_only.changed)
      return ls__fail(LS_ERROR_ARGUMENT, "%s would change a parameter of the model, or a tensor that the script gave to the trace; clone it "
                      "first", op->name.c_str());
    for (int i = 0; i < 2 && may_cut(op, handle, call); i++) {
      auto *number = call.given[i].at, *beside = call.given[1 - i].at;
      ls_status fits = number && beside ? check_whole(op, *number, *beside) : LS_OK;
      if (fits) return fits;
    }
    torch::jit::Stack stack;
    stack.reserve(arguments.size());
    for (size_t i = 0; i < arguments.size(); i++) stack.push_back(argument_of(arguments[i], call.given[i]));
    call_boxed(*handle, product_of(*handle), writes(handle->schema()), &stack);
    take_results(*handle, &stack, out, LS_RESULTS, n_out);
    for (int32_t i = 0; !read_only.tensors.empty() && i < *n_out; i++) mark_read_only(read_only, &out[i]);
    return LS_OK;
  });
  if (status == LS_ERROR_MEMORY && handle && !written_by(op, handle, call)) ls__fail_again();
  return status;
}

// ---- prepared calls ----------------------------------------------------------------------------------------------------

namespace {

struct Slot {  // an argument of a prepared call that has nodes in it
  int32_t argument;
  int32_t node;    // the node that is the whole argument; -1 where the nodes are in a list
  uint8_t kind;    // the ls_kind that the value of `node` will have
  int32_t at, n;   // the argument is the `n` values of ls__call.stream from index `at` on
};

}  // namespace

struct ls__call {
  const ls_op* op;
  const OperatorHandle* handle;
  Product product;
  bool is_writing;
  std::vector<IValue> arguments;  // the arguments as values of libtorch; empty where an argument has nodes
  std::vector<Slot> slots;
  std::vector<ls_value> stream;   // all arguments as values of luasight; the node of the recording owns the values
  std::vector<int32_t> places;    // where in `stream` the arguments begin; -1 for one that is not given
  std::vector<int32_t> written;   // the nodes whose values the call changes in place
  bool chooses_again;             // whether the overload depends on the dtypes of the values, as beside a -0.0
  bool cuts;                      // whether the dtype of a tensor may not hold the whole number beside it
  bool changes_own;               // whether the call changes a tensor argument that is a constant and not the value of a node
  int32_t results;
};

static bool has_node(const Given& given) {
  for (int32_t i = 0; i < given.n; i++)
    if (given.at[i].kind == LS_NODE) return true;
  return false;
}

// Sets call->written to the nodes whose values the call changes in place, and call->changes_own to whether it changes other tensors.
static void note_written(ls__call* call, const Matched& chosen) {
  uint32_t written = written_by(call->op, call->handle, chosen);
  call->changes_own = false;
  for (size_t i = 0; i < MOST_ARGUMENTS && written >> i; i++) {
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
    Matched chosen;
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
      call->places.push_back(given.at ? static_cast<int32_t>(given.at - args) : -1);
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
    call->chooses_again = has_negative_zero(args, n);
    call->cuts = may_cut(op, handle, chosen);
    *out = call.release();
    return LS_OK;
  });
}

void ls__call_free(ls__call* call) { delete call; }
int32_t ls__call_results(const ls__call* call) { return call->results; }
uint8_t ls__call_kind(const ls__call* call, int32_t result) {
  return kind_of(*call->handle->schema().returns()[static_cast<size_t>(result)].real_type());
}

static void substitute(const ls__call* call, const Slot& slot, const ls_value* values, std::vector<ls_value>* out) {
  for (int32_t i = slot.at; i < slot.at + slot.n; i++)
    out->push_back(call->stream[i].kind == LS_NODE ? values[call->stream[i].aux] : call->stream[i]);
}

// Puts the values of nodes into the arguments on `stack` that have nodes in them. Returns false where a value has another kind than
// expected when the call was prepared, so that the caller has to choose the overload again.
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

// Checks the first two arguments, each a constant or the value of a node, as ls__op_run does.
static ls_status check_numbers(const ls__call* call, const ls_value* values) {
  if (call->places.size() < 2 || call->places[0] < 0 || call->places[1] < 0) return LS_OK;
  const ls_value* two[2];
  for (size_t i = 0; i < 2; i++) {
    auto& given = call->stream[static_cast<size_t>(call->places[i])];
    two[i] = given.kind == LS_NODE ? &values[given.aux] : &given;
  }
  ls_status fits = check_whole(call->op, *two[0], *two[1]);
  return fits ? fits : check_whole(call->op, *two[1], *two[0]);
}

ls_status ls__call_run(ls__call* call, const ls_value* values, ls_value* out) {
  return guarded(call->op->name.c_str(), [&] {
    ls_value results[LS_RESULTS];
    int32_t n = 0;
    torch::jit::Stack stack(call->arguments);
    if (!call->chooses_again && fill(call, values, &stack)) {
      if (ls_status fits = call->cuts ? check_numbers(call, values) : LS_OK) return fits;
      call_boxed(*call->handle, call->product, call->is_writing, &stack);
      take_results(*call->handle, &stack, results, LS_RESULTS, &n);
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

// The node that is argument `i` of a call, or the first node inside that argument; -1 where there is none.
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

bool ls__call_writes_others(const ls__call* call) {
  return call->op->written[static_cast<size_t>(call->handle - call->op->overloads.data())].declared > 1;
}

// The argument of the schema in whose memory a result of the call may be; -1 where there is none.
static int viewed_argument(const ls__call* call) {
  bool shares = false;
  for (auto& result : call->handle->schema().returns()) {
    auto* alias = result.alias_info();
    shares = shares || (alias && (!alias->beforeSets().empty() || !alias->containedTypes().empty()));
  }
  if (!shares) return call->op->views ? 0 : -1;
  auto& arguments = call->handle->schema().arguments();
  for (size_t i = 0; i < arguments.size(); i++)
    if (arguments[i].alias_info()) return static_cast<int>(i);
  return -1;
}

int32_t ls__call_view_of(const ls__call* call) {
  int argument = viewed_argument(call);
  return argument < 0 ? -1 : node_of(call, static_cast<size_t>(argument));
}

bool ls__call_may_return(const ls__call* call) { return call->op->returns; }

int32_t ls__call_view_at(const ls__call* call) {
  int argument = viewed_argument(call);
  return argument < 0 ? -1 : call->places[static_cast<size_t>(argument)];
}
