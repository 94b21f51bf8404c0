// Gradients of a trace as they pass in a backward: hooks that take gradients or exchange them, and backwards that begin in the middle of the
// graph.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>
#include <memory>
#include <unordered_set>
#include <vector>
#include "torch/common.h"

using namespace luasight;
using torch::autograd::Edge;
using torch::autograd::Node;

// ---- hooks -------------------------------------------------------------------------------------------------------------

namespace {

// What a hook and the capture that made it share; autograd's graph may outlive the capture.
struct State {
  int32_t which = 0;
  bool listens = false;   // whether a backward runs whose gradients the capture takes
  bool exchanges = false; // whether the script may set this gradient, so that the hook asks for the one that goes on
  bool passes = false;    // whether the gradient that comes next was put in here, to go on from here
  int32_t calls = 0;      // how often a gradient has come since the capture began to listen
  at::Tensor sum;         // the gradients that have come, added up
};

// The backward that runs in this thread, if any. A hook that runs in another thread, as for tensors on CUDA devices, asks nobody.
thread_local const ls__sweep* sweep = nullptr;

at::Tensor hear(State& state, const at::Tensor& gradient) {
  if (!gradient.defined() || !state.listens || state.passes) return {};
  // the very tensor, and no other in its memory: autograd makes a gradient that nothing else refers to the grad of a parameter, to which a
  // later backward adds in place
  state.sum = state.sum.defined() ? state.sum + gradient : gradient;
  state.calls++;
  if (!state.exchanges) return {};
  ls_value fresh{};
  if (sweep) {
    at::AutoGradMode records(true);
    sweep->arrived(sweep->who, state.which, &fresh);
  }
  if (fresh.kind != LS_TENSOR) return at::zeros_like(gradient);
  auto given = borrow(fresh.as.p);
  if (given.requires_grad()) given = given.detach().clone();
  given = given.to(gradient.options());
  ls_value_release(&fresh);
  return given;
}

}  // namespace

struct ls__capture {
  std::shared_ptr<State> state;
  Edge edge;
  at::Tensor leaf;        // a leaf, which keeps its hooks longer than a trace lasts
  unsigned hook = 0;
  std::unordered_set<const Node*> below;  // what a gradient that goes on from here reaches; filled when it is first asked for
};

static Edge edge_of(void* tensor) { return torch::autograd::impl::gradient_edge(borrow(tensor)); }

ls_status ls__capture_new(void* tensor, int32_t which, ls__capture** out) {
  return guarded("watching a gradient", [&] {
    auto t = borrow(tensor);
    auto state = std::make_shared<State>();
    state->which = which;
    auto made = std::make_unique<ls__capture>();
    made->state = state;
    made->edge = edge_of(tensor);
    if (t.is_leaf()) made->leaf = t;
    made->hook = t.register_hook([state](const at::Tensor& gradient) { return hear(*state, gradient); });
    *out = made.release();
    return LS_OK;
  });
}

bool ls__capture_is_of(const ls__capture* capture, void* tensor) {
  try {
    return capture->edge == edge_of(tensor);
  } catch (...) {
    return false;
  }
}

void ls__capture_free(ls__capture* capture) {
  if (!capture) return;
  try {
    capture->state->listens = false;
    capture->state->sum = at::Tensor();
    if (capture->leaf.defined()) capture->leaf.remove_hook(capture->hook);
  } catch (...) {
  }
  delete capture;
}

void ls__capture_listen(ls__capture* capture, bool on, bool exchanges) {
  auto& state = *capture->state;
  state.listens = on;
  state.exchanges = exchanges;
  state.passes = false;
  state.calls = 0;
  state.sum = at::Tensor();
}

int32_t ls__capture_calls(const ls__capture* capture) { return capture->state->calls; }

void ls__capture_sum(const ls__capture* capture, ls_value* out) { *out = new_value(capture->state->sum); }

// ---- backwards ---------------------------------------------------------------------------------------------------------

// All nodes of autograd's graph that a gradient reaches from `edge` on, that of the edge itself among them.
static std::unordered_set<const Node*> reached_from(const std::vector<Edge>& edges) {
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> open;
  auto add = [&](const Edge& edge) {
    if (edge.is_valid() && seen.insert(edge.function.get()).second) open.push_back(edge.function.get());
  };
  for (const auto& edge : edges) add(edge);
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    for (const auto& edge : node->next_edges()) add(edge);
  }
  return seen;
}

ls_status ls__capture_reaches(ls__capture* from, const ls__capture* to, bool* reaches) {
  return guarded("following autograd's graph", [&] {
    if (from->below.empty()) from->below = reached_from(from->edge.function->next_edges());
    *reaches = from != to && from->below.count(to->edge.function.get()) != 0;
    return LS_OK;
  });
}

namespace {
struct Sweeping {
  explicit Sweeping(const ls__sweep* now) : before(sweep) { sweep = now; }
  ~Sweeping() { sweep = before; }
  const ls__sweep* before;
};
}  // namespace

ls_status ls__backward(void* loss, const ls_value* gradient, bool keep, const ls__sweep* now) {
  if (gradient->kind == LS_TENSOR) {  // libtorch would sum one that has more axes, and expand one that has fewer elements
    ls_status status = ls__tensor_same_sizes(gradient->as.p, loss);
    if (status) return status;
  }
  return guarded("backward", [&] {
    Sweeping sweeping(now);
    borrow(loss).backward(gradient->kind == LS_TENSOR ? borrow(gradient->as.p) : at::Tensor(), keep);
    return LS_OK;
  });
}

ls_status ls__backward_from(ls__capture* capture, const ls_value* gradient, const ls__sweep* now) {
  auto& state = *capture->state;
  state.passes = true;
  ls_status status = guarded("backward", [&] {
    Sweeping sweeping(now);
    torch::autograd::Engine::get_default_engine().execute({capture->edge}, {borrow(gradient->as.p)}, true, false, true);
    return LS_OK;
  });
  state.passes = false;
  return status;
}

// Frees what autograd has kept for a backward of `loss`, as a backward that does not retain its graph does.
ls_status ls__backward_release(void* loss) {
  return guarded("backward", [&] {
    for (const Node* node : reached_from({edge_of(loss)})) const_cast<Node*>(node)->release_variables();
    return LS_OK;
  });
}
